"""Events about Workspaces and Machines on a real API server, as `kubectl describe` shows them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kaito.clock import WallClock
from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.telemetry.processes import OperatorTelemetry, ProvisionerTelemetry
from statemachine import events as ev
from statemachine.limits import Limits
from statemachine.machine import events as mev
from store.memory import MemoryEventLog
from tests.e2e.control_plane import ControlPlane
from tests.kaito.live import DEADLINE_SECONDS

pytestmark = pytest.mark.real_server

CLOCK = WallClock()
WORKSPACE: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "falcon"},
    "resource": {
        "instanceType": "Standard_NC12s_v3",
        "labelSelector": {"matchLabels": {"apps": "falcon"}},
    },
    "inference": {"preset": {"name": "falcon-7b-instruct"}},
}
MACHINE: dict[str, Any] = {
    "apiVersion": "karpenter.sh/v1alpha5",
    "kind": "Machine",
    "metadata": {"name": "ws0123456ab"},
    "spec": {"machineTemplateRef": {"name": "default"}, "requirements": []},
}


@pytest.fixture
def client(server: ControlPlane) -> Iterator[KubeClient]:
    connected = connect(server.kubeconfig)
    yield connected
    connected.close()


def made(server: ControlPlane, manifest: dict[str, Any]) -> str:
    """Make the object; its UID."""
    created = server.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(manifest))
    uid: str = json.loads(created)["metadata"]["uid"]
    return uid


def troubled() -> ev.InferenceTroubled:
    return ev.InferenceTroubled(
        at=CLOCK.now(), reason="ContainerOOMKilled", message="pod falcon-0: exit code 137"
    )


class Telling:
    """A log whose appends are told to the API server until the end of the block."""

    def __init__(self, client: KubeClient, telemetry: OperatorTelemetry | ProvisionerTelemetry) -> None:
        self._recorder = telemetry.recorder(client, "e2e")
        self._log = telemetry.observed(MemoryEventLog(CLOCK.now), [self._recorder])
        self._registry = telemetry.registry

    def __enter__(self) -> Callable[..., None]:
        self._recorder.start()
        return self._append

    def _append(self, stream: str, *events: Any) -> None:
        version = len(self._log.read(stream))
        self._log.append(stream, events, expected_version=version)

    def __exit__(self, *error: object) -> None:
        assert self._recorder.stop(DEADLINE_SECONDS)
        causes = ("overflow", "spam", "refused", "unanswered", "stopped")
        value = self._registry.get_sample_value
        assert [value("kaito_events_dropped_total", {"cause": cause}) for cause in causes] == [0] * 5


def events_of(server: ControlPlane, kind: str, name: str) -> str:
    return server.kubectl("describe", kind, name).partition("Events:")[2]


def rows(described: str) -> Counter[tuple[str, str]]:
    """Type and reason of each row; those of one second are in no order."""
    table = [line.split() for line in described.splitlines()[3:]]
    return Counter((row[0], row[1]) for row in table)


def test_describe_shows_what_happened_to_a_workspace(server: ControlPlane, client: KubeClient) -> None:
    uid = made(server, WORKSPACE)
    stream = f"workspace/default/falcon/{uid}"
    events = [
        ev.WorkspaceAdopted(
            at=CLOCK.now(),
            uid=uid,
            namespace="default",
            name="falcon",
            generation=1,
            node_count=1,
            instance_type="Standard_NC12s_v3",
            inference="preset falcon-7b-instruct",
            limits=Limits(),
        ),
        ev.NodeAssigned(at=CLOCK.now(), slot=0, node="node-0"),
    ]

    with Telling(client, OperatorTelemetry(CLOCK)) as append:
        append(stream, *events)
        for _ in range(3):
            append(stream, troubled())
    with Telling(client, OperatorTelemetry(CLOCK)) as append_again:
        append_again(stream, *events)  # another process, which does not know what was told

    described = events_of(server, "workspace", "falcon")
    assert rows(described) == {
        ("Normal", "WorkspaceAdopted"): 1,
        ("Normal", "NodeAssigned"): 1,
        ("Warning", "ContainerOOMKilled"): 1,
    }
    assert "(x3 over" in described
    assert "kaito-workspace" in described
    assert "Inference in trouble, ContainerOOMKilled: pod falcon-0: exit code 137" in described


def test_describe_shows_what_happened_to_a_machine(server: ControlPlane, client: KubeClient) -> None:
    uid = made(server, MACHINE)
    name = MACHINE["metadata"]["name"]

    with Telling(client, ProvisionerTelemetry(CLOCK)) as append:
        append(
            f"machine/{name}",
            mev.MachineAccepted(
                at=CLOCK.now(), machine=name, uid=uid, generation=1, vm_size="size", os_disk_gb=0
            ),
            mev.PoolCreationRequested(at=CLOCK.now(), machine=name, pool=name),
        )
        append(
            f"machine/{name}",
            mev.PoolCreationFailed(
                at=CLOCK.now(),
                machine=name,
                pool=name,
                attempt=1,
                reason="QuotaExceeded",
                code="ErrCode_InsufficientVCPUQuota",
                message="family standardNCSv3Family, limit 100, used 56, needed 64",
            ),
        )

    described = events_of(server, "machine", name)
    assert rows(described) == {
        ("Normal", "MachineAccepted"): 1,
        ("Normal", "PoolRequested"): 1,
        ("Warning", "QuotaExceeded"): 1,
    }
    assert "kaito-gpu-provisioner" in described
    assert "limit 100, used 56, needed 64" in described
