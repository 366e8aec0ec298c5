"""How the published provisioner saw the cloud, to compare its published figures with ours."""

from __future__ import annotations

import math


def observed_seconds(elapsed: float, poll_interval: float) -> float:
    """When a poller that looks every ``poll_interval`` seconds sees what happened after ``elapsed`` seconds.

    The first look is at the start, so something that took any time at all is seen one interval later; an
    interval of zero sees at once. Source: gpu-provisioner 0.2.0 polls long-running operations every 30 s.
    """
    if poll_interval <= 0:
        return elapsed
    return poll_interval * math.ceil(elapsed / poll_interval)
