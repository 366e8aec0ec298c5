"""The timers of one Machine; they come with each picture, and events carry what they led to."""

from __future__ import annotations

import msgspec


class MachineLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All in seconds, unless a name says otherwise.

    The published numbers: registration 15 minutes, not-ready removal 10 minutes. There was no launch limit:
    30 minutes exceed the slowest published creation (1554 s). A drain had no limit either.
    """

    launch_limit: float = 1800.0
    """From an accepted creation or deletion to its end."""
    registration_limit: float = 900.0
    """From the end of the creation to a node in the cluster."""
    not_ready_limit: float = 600.0
    """How long a node may be unready, without a break, until its Machine may be removed."""
    steady_after: float = 30.0
    """How long a node that was unready must be Ready again until it is trusted."""
    drain_limit: float = 1800.0
    """From the cordon to the deletion of the pool with whatever is left on it."""
    capacity_limit: float = 86400.0
    """How long stock-outs may last until the Machine gives up; 99 % are over in 16 h."""
    poll_after: float = 20.0
    """Between two looks at an operation or a pool."""
    poll_jitter: float = 0.5
    """The part of ``poll_after`` by which a look may be earlier or later: 20 s gives 10 to 30 s."""
