"""The world in which the processes are proved, without them: its players, its accidents, its proxies."""

from __future__ import annotations

from contextlib import closing

import pytest

from kaito.kube import connect
from kaito.runtime.pools import PoolSpec
from kaito.runtime.ports import DEPLOYMENTS, NODES, PODS, SERVICES, WORKSPACES, Object, Unavailable
from tests.e2e.crowds import alike
from tests.e2e.journal import calls, watches, writes
from tests.e2e.kubeconfigs import write_kubeconfig
from tests.e2e.proxy import in_front_of_api_server
from tests.e2e.real_world import RealWorld
from tests.e2e.rules import AFTER, BEFORE
from tests.e2e.waiting import holds

pytestmark = pytest.mark.real_server

SIZE = "Standard_NC12s_v3"
GPU_NODE = {"kaito.sh/machine-type": "gpu", "karpenter.sh/provisioner-name": "default"}


def a_deployment(name: str = "server", owner: Object | None = None, **spec: object) -> Object:
    labels = {"app": name}
    container = {"name": "main", "image": "falcon", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    metadata: Object = {"name": name, "namespace": "default"}
    if owner is not None:
        metadata["ownerReferences"] = [owned_by(owner)]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def owned_by(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


def a_pool(name: str) -> PoolSpec:
    return PoolSpec(name=name, vm_size=SIZE, labels=GPU_NODE)


def buy(world: RealWorld, name: str) -> str:
    """A pool, and the name of its node once it is ready."""
    with world.arm_server.pacer.lock:
        world.arm.begin_create(a_pool(name))
    return world.until(lambda: ready_node(world), what="a node with GPUs")


def ready_node(world: RealWorld) -> str:
    found = (
        name
        for name, node in world.nodes().items()
        if world.conditions(name, NODES).get("Ready") == "True"
        and "nvidia.com/gpu" in node["status"]["allocatable"]
    )
    return next(found, "")


def ready_pods(world: RealWorld) -> list[str]:
    return [name for name in world.pods() if world.conditions(name, PODS, "default").get("Ready") == "True"]


def test_pool_becomes_a_node_and_goes(world: RealWorld) -> None:
    node = buy(world, "ws000000001")

    with world.arm_server.pacer.lock:
        world.arm.begin_delete("ws000000001")

    world.until(lambda: node not in world.nodes())
    world.until(lambda: not world.pools())
    assert world.players.troubles == []


def test_deployment_gets_a_ready_pod(world: RealWorld) -> None:
    node = buy(world, "ws000000001")

    world.apply(a_deployment())

    (pod,) = world.until(lambda: ready_pods(world))
    assert world.pods()[pod]["spec"]["nodeName"] == node
    world.until(lambda: world.deployments()["server"]["status"].get("readyReplicas") == 1)
    assert world.players.troubles == []


def test_deleted_owner_takes_what_it_owns(world: RealWorld) -> None:
    world.join_node("n1", SIZE, GPU_NODE)
    world.apply(world.example("falcon-7b-instruct", rename="w"))
    owner = world.workspaces()["w"]
    world.apply(a_deployment(owner=owner))
    service: Object = {
        "metadata": {"name": "w", "namespace": "default", "ownerReferences": [owned_by(owner)]},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "server"}},
    }
    world.api.create(SERVICES, service)
    world.until(lambda: ready_pods(world))

    world.delete(WORKSPACES, "w", "default")

    world.until(lambda: not (world.deployments() or world.pods() or world.services()))
    assert world.players.troubles == []


def test_pods_go_with_their_node(world: RealWorld) -> None:
    world.join_node("n1", SIZE, GPU_NODE)
    world.apply(a_deployment())
    (pod,) = world.until(lambda: ready_pods(world))

    world.delete(NODES, "n1")

    world.until(lambda: pod not in world.pods())
    world.until(lambda: len(world.pods()) == 1, what="a successor that waits for a node")


def test_evicted_pod_is_replaced(world: RealWorld) -> None:
    world.join_node("n1", SIZE, GPU_NODE)
    world.apply(a_deployment())
    (pod,) = world.until(lambda: ready_pods(world))

    world.api.evict(pod, "default")

    world.until(lambda: pod not in world.pods())
    world.until(lambda: len(ready_pods(world)) == 1)


def test_players_outlive_the_api_server(world: RealWorld) -> None:
    world.join_node("n1", SIZE, GPU_NODE)
    world.until(lambda: ready_node(world))

    world.plane.restart_api_server()
    world.apply(a_deployment())

    world.until(lambda: ready_pods(world), 60)
    assert world.players.troubles == []


def test_players_outlive_etcd(world: RealWorld) -> None:
    world.plane.restart_etcd()
    world.join_node("n1", SIZE, GPU_NODE)

    world.until(lambda: ready_node(world), 60)


def test_restored_backup_goes_back_in_time(world: RealWorld) -> None:
    node = buy(world, "ws000000001")
    world.apply(a_deployment())
    (pod,) = world.until(lambda: ready_pods(world))
    backup, before = world.plane.backup(), world.plane.revision()
    world.apply(a_deployment("later"))
    world.until(lambda: "later" in world.deployments())

    world.restore(backup)

    assert world.plane.revision() < before + 20
    assert sorted(world.deployments()) == ["server"]
    assert ready_pods(world) == [pod]
    assert sorted(world.nodes()) == [node]


def test_fates_of_a_write_on_the_real_server(world: RealWorld) -> None:
    with in_front_of_api_server("client", world.plane) as proxy:
        config = write_kubeconfig(world.folder / "proxied", proxy.url)
        with closing(connect(config)) as client:
            proxy.rules.kill(BEFORE, lambda: None, writes, nth=1)
            with pytest.raises(Unavailable):
                client.create(DEPLOYMENTS, a_deployment("before"))
            proxy.rules.kill(AFTER, lambda: None, writes, nth=1)
            with pytest.raises(Unavailable):
                client.create(DEPLOYMENTS, a_deployment("after"))

    assert sorted(world.deployments()) == ["after"]
    assert [call.code for call in proxy.journal.since(match=writes)] == [None, 201]
    assert proxy.journal.count(calls("POST", "/deployments$")) == 2


def test_stalled_watch_of_the_real_server(world: RealWorld) -> None:
    with in_front_of_api_server("client", world.plane) as proxy:
        config = write_kubeconfig(world.folder / "proxied", proxy.url)
        with (
            closing(connect(config)) as client,
            closing(client.open_watch(DEPLOYMENTS)) as stream,
        ):
            proxy.stall()
            world.api.create(DEPLOYMENTS, a_deployment())
            silence = stream.read(1.0)
            still_open = len(proxy.under_way(watches))
            proxy.resume()
            told = stream.read(10.0)

    assert silence == []
    assert still_open == 1
    assert told is not None
    assert told[0].object["metadata"]["name"] == "server"


def test_heartbeats_change_nodes_and_nothing_else(world: RealWorld) -> None:
    world.join_node("n1", SIZE, GPU_NODE)
    world.until(lambda: ready_node(world))
    before, writes_before = world.nodes()["n1"], world.players.writes

    with world.heartbeats(every_seconds=0.1) as hearts:
        world.until(lambda: hearts.beats >= 5)

    after = world.nodes()["n1"]
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert world.conditions("n1", NODES) == {"Ready": "True"}
    assert after["status"]["allocatable"] == before["status"]["allocatable"]
    assert world.players.writes == writes_before


def test_settled_crowd_is_left_in_peace(world: RealWorld) -> None:
    names = world.settle(alike(world.example("falcon-7b-instruct"), 5))
    pods = sorted(world.pods())

    holds(lambda: sorted(world.pods()) == pods and len(ready_pods(world)) == 5, 1.0)

    assert sorted(world.workspaces()) == names
    assert len(world.machines()) == len(world.nodes()) == len(world.services()) == 5
    assert (world.players.writes, world.players.troubles) == (0, [])
