"""What programs write: a few contents of each kind, valid and not, as an operator or a person sends them."""

from __future__ import annotations

from kaito.runtime.ports import Object

SELECTOR: Object = {"matchLabels": {"app": "falcon"}}
CONTAINERS: list[Object] = [{"name": "main", "image": "falcon:1"}]
NOT_READY: Object = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
"""Admission gives it to each new node that has not got it; the virtual kubelet's nodes come with it here."""


def _workspace(preset: Object | None = None, **resource: object) -> Object:
    return {
        "resource": {"labelSelector": {"matchLabels": {"apps": "falcon"}}, **resource},
        "inference": {"preset": preset or {"name": "falcon-7b"}},
    }


def _template(image: str = "falcon:1") -> Object:
    return {
        "metadata": {"labels": {"app": "falcon"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }


def _condition(status: object = "True", **other: object) -> Object:
    return {
        "type": "MachineReady",
        "status": status,
        "reason": "waiting",
        "message": "waiting for nodes",
        "lastTransitionTime": "2024-04-05T18:29:58Z",
        **other,
    }


VALID: dict[str, tuple[Object, ...]] = {
    "Workspace": (
        _workspace(),
        _workspace(count=2, instanceType="Standard_NC24s_v3"),
        _workspace({"name": "falcon-40b", "accessMode": "private", "unknown": 1}, count=2, unknown={"a": 1}),
        _workspace({"name": "falcon-40b", "accessMode": None}, preferredNodes=["n1"], count=None),
        {
            **_workspace(),
            "inference": {"template": {"spec": {"any": ["thing", None, {"b": None}]}}},
            "other": True,
        },
    ),
    "Machine": (
        {"spec": {"resources": {"requests": {"storage": "100Gi"}}}},
        {"spec": {"kubelet": {"maxPods": 110, "unknown": True}, "resources": {"requests": {"storage": 5}}}},
        {"spec": {"requirements": [{"key": "size", "operator": "In", "values": ["NC12"]}]}},
        {"spec": {"taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}], "unknown": None}},
        {},
    ),
    "Pod": (
        {"spec": {"containers": CONTAINERS}},
        {"spec": {"containers": CONTAINERS, "nodeName": "node-a"}},
        {"spec": {"containers": CONTAINERS, "nodeName": "node-a", "terminationGracePeriodSeconds": 0}},
    ),
    "Node": (
        {"spec": {"taints": [NOT_READY]}},
        {"spec": {"taints": [NOT_READY], "unschedulable": True}},
    ),
    "Service": (
        {"spec": {"clusterIP": "None", "selector": {"app": "falcon"}, "ports": [{"port": 80}]}},
        {"spec": {"clusterIP": "None", "selector": {"app": "eagle"}, "ports": [{"port": 80}]}},
    ),
    "Deployment": (
        {"spec": {"replicas": 1, "selector": SELECTOR, "template": _template()}},
        {"spec": {"replicas": 2, "selector": SELECTOR, "template": _template()}},
        {"spec": {"replicas": 1, "selector": SELECTOR, "template": _template("falcon:2")}},
    ),
    "StatefulSet": (
        {"spec": {"replicas": 1, "selector": SELECTOR, "serviceName": "s", "template": _template()}},
        {"spec": {"replicas": 2, "selector": SELECTOR, "serviceName": "s", "template": _template()}},
        {
            "spec": {
                "replicas": 1,
                "selector": SELECTOR,
                "serviceName": "s",
                "template": _template("falcon:2"),
            }
        },
    ),
}

INVALID: dict[str, tuple[Object, ...]] = {
    "Workspace": (
        _workspace({"name": "falcon-7b", "accessMode": "secret"}),
        _workspace(count="two"),
        _workspace(count=1.5),
        {"resource": {"count": 1}},
        {"resource": None},
        {"resource": [], "inference": 1},
        _workspace({"accessMode": "public"}, preferredNodes=[1, "n"]),
        _workspace({}, count="two"),
    ),
    "Machine": (
        {"spec": {"kubelet": {"maxPods": -1, "imageGCHighThresholdPercent": 101}}},
        {"spec": {"requirements": [{"key": "size", "operator": "Like"}]}},
        {"spec": {"requirements": [{"operator": "In"}]}},
        {"spec": {"resources": {"requests": {"storage": "a lot"}}}},
        {"spec": "small"},
    ),
}

STATUS: dict[str, tuple[Object, ...]] = {
    "Workspace": (
        {"workerNodes": ["n1"]},
        {"workerNodes": [], "unknown": 1},
        {"conditions": [_condition()]},
        {"conditions": [_condition("False", observedGeneration=1, severity="")]},
        {},
    ),
    "Machine": (
        {"nodeName": "node-a", "providerID": "azure:///vm"},
        {"capacity": {"nvidia.com/gpu": 2}, "conditions": [{"type": "Ready", "status": "True"}]},
        {"unknown": True},
    ),
    "Pod": ({"phase": "Running"}, {"phase": "Succeeded"}),
    "Node": ({"phase": "Running"}, {"addresses": [{"type": "InternalIP", "address": "10.0.0.4"}]}),
    "Service": ({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},),
    "Deployment": ({"replicas": 1, "readyReplicas": 1}, {"observedGeneration": 1, "replicas": 1}),
    "StatefulSet": ({"replicas": 1, "readyReplicas": 1}, {"observedGeneration": 1, "replicas": 1}),
}

INVALID_STATUS: dict[str, tuple[Object, ...]] = {
    "Workspace": (
        {"conditions": [_condition("Perhaps")]},
        {"conditions": [_condition(reason="")]},
        {"conditions": [_condition(lastTransitionTime="yesterday", observedGeneration=-1)]},
        {"conditions": [{"type": "a b"}]},
        {"workerNodes": "n1"},
    ),
    "Machine": ({"capacity": {"cpu": "many"}}, {"conditions": [{"type": "Ready"}]}, {"nodeName": 1}),
}
