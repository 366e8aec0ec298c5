"""The objects a Workspace needs, as pure functions of the Workspace and its preset.

Every function returns a JSON object in a stable order without nulls; equal input gives equal output, and
nothing is shared between two answers.
"""

from __future__ import annotations

from kaito.manifests.machines import machine
from kaito.manifests.services import headless_service, service, wants_service
from kaito.manifests.workloads import workload, workload_kind

__all__ = ["headless_service", "machine", "service", "wants_service", "workload", "workload_kind"]
