"""The timers of one Workspace and what is usual for it; part of its events, for the log to explain itself."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Timers and usual durations, all in seconds.

    A Machine that exceeds ``machine_slow_after`` is reported as slow, not as failed; one that exceeds
    ``machine_timeout`` is reported as failed and may still recover. The usual durations are the p50 and
    p95 of the `aks-gpu` latency profile (see simulator/profiles): create call to launched, and workload
    created to ready for the reference model.
    """

    machine_slow_after: float = 240.0
    machine_timeout: float = 900.0
    inference_timeout: float = 1800.0
    machine_usual_p50: float = 253.0
    machine_usual_p95: float = 449.0
    inference_usual_p50: float = 609.0
    inference_usual_p95: float = 1140.0
