"""How a Machine ends: drain the node, delete the pool, let go of the Node, then of the Machine.

The order and the waits are those of gpu-provisioner 0.2.0: one delete of the pool through the Node, polled
like every operation, and a second one through the Machine, which finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from kaito.runtime.ports import MACHINES, NODES, PODS, Object
from simulator.latency import observed_seconds
from simulator.machines import claimed, finalizers_without_ours, node_name
from simulator.nodes import pods_on
from simulator.process import Surroundings, key

CORDONED = {
    "metadata": {"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": "karpenter"}},
    "spec": {"unschedulable": True},
}


class Termination:
    """One Machine on its way out.

    Args:
        machine: As it stands when the termination begins, with its deletion timestamp.
        done: Called when our finalizer is off the Machine.
    """

    def __init__(self, surroundings: Surroundings, machine: Object, done: Callable[[], None]) -> None:
        self._in = surroundings
        self._machine = machine["metadata"]["name"]
        self._uid = machine["metadata"]["uid"]
        self._node = node_name(machine)
        self._done = done
        self._draining = False

    def begin(self) -> None:
        """Cordon and drain a node that was registered; one that was not goes with the first delete."""
        node = self._in.get(NODES, self._node) if self._node else None
        if node is None or not claimed(node):
            self._forget_node()
            self._delete_pool()
            return
        self._in.patch(NODES, self._node, CORDONED)
        self._in.delete(NODES, self._node)
        self._draining = True
        self.drain()

    def _forget_node(self) -> None:
        if self._node:
            self._in.delete(NODES, self._node)

    def drain(self) -> None:
        """Delete the pods that are left, which is called again whenever one is gone; then the pool."""
        if not self._draining:
            return
        pods = pods_on(self._in, self._node)
        for pod in pods:
            namespace, name = key(pod)
            self._in.delete(PODS, name, namespace)
        if not pods:
            self._draining = False
            self._in.after(self._in.delays.seconds("deletion.drain_slack"), self._delete_pool)

    def _delete_pool(self) -> None:
        delays = self._in.delays
        operation = delays.seconds("deletion.operation")
        seen = observed_seconds(operation, delays.seconds("machine.poll_interval_seconds"))
        self._in.after(delays.seconds("deletion.request") + seen, self._release_node)

    def _release_node(self) -> None:
        node = self._in.get(NODES, self._node) if self._node else None
        if node is None:
            self._release_machine()
            return
        self._in.patch(NODES, self._node, {"metadata": {"finalizers": finalizers_without_ours(node)}})
        self._in.delete(NODES, self._node)
        self._in.after(self._in.delays.seconds("deletion.final_delete"), self._release_machine)

    def _release_machine(self) -> None:
        machine = self._in.get(MACHINES, self._machine)
        if machine is not None and machine["metadata"]["uid"] == self._uid:
            finalizers = finalizers_without_ours(machine)
            self._in.patch(MACHINES, self._machine, {"metadata": {"finalizers": finalizers}})
        self._done()
