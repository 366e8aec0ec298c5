"""The real API server of these tests; each session has one of its own, with both CRDs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.control_plane import ControlPlane
from tests.e2e.real_world import RealWorld

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server without anything of ours."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        raise pytest.UsageError("set KUBEBUILDER_ASSETS to a directory with kube-apiserver and etcd")
    plane = ControlPlane(Path(assets), tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def server(control_plane: ControlPlane) -> ControlPlane:
    """The API server that knows Workspaces and Machines."""
    control_plane.kubectl("apply", "-f", str(ROOT / "crds"))
    control_plane.kubectl(
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd/workspaces.kaito.sh",
        "crd/machines.karpenter.sh",
    )
    return control_plane


@pytest.fixture
def world(server: ControlPlane, tmp_path: Path) -> Iterator[RealWorld]:
    """A cluster in which pools become nodes and Deployments pods, without the operator."""
    with RealWorld(server, tmp_path) as world:
        yield world
