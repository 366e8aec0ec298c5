"""The Service in front of a Workspace, and the headless one through which distributed pods meet."""

from __future__ import annotations

from kaito.api.workspace import LOAD_BALANCER_ANNOTATION, Workspace
from kaito.catalogue.entries import Preset
from kaito.manifests import names
from kaito.manifests.names import Object


def wants_service(workspace: Workspace) -> bool:
    """Whether the operator makes a Service: for presets; a template's ports are its author's business."""
    return workspace.preset is not None


def service(workspace: Workspace, preset: Preset | None) -> Object:
    """The Service named like the Workspace; of a distributed model only pod 0 answers requests."""
    selector = names.selector(workspace)
    if preset is not None and preset.distributed:
        selector |= {names.POD_NAME_LABEL: f"{workspace.name}-0"}
    ports = [
        _port("http", names.SERVICE_PORT, names.INFERENCE_PORT),
        _port("torch", names.TORCH_PORT, names.TORCH_PORT),
    ]
    return _service(workspace, workspace.name, {"type": _type(workspace)}, ports, selector)


def headless_service(workspace: Workspace) -> Object:
    """Gives each pod of the StatefulSet a DNS name, also before it is ready: ranks meet while they load."""
    ports = [_port("torchrun", names.TORCH_PORT, names.TORCH_PORT)]
    name = names.headless_name(workspace)
    return _service(workspace, name, {"clusterIP": "None"}, ports, names.selector(workspace))


def _service(
    workspace: Workspace, name: str, kind: Object, ports: list[Object], selector: dict[str, str]
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(workspace, name),
        "spec": {**kind, "ports": ports, "selector": selector, "publishNotReadyAddresses": True},
    }


def _port(name: str, port: int, target: int) -> Object:
    return {"name": name, "protocol": "TCP", "port": port, "targetPort": target}


def _type(workspace: Workspace) -> str:
    public = workspace.metadata.annotations.get(LOAD_BALANCER_ANNOTATION) == "True"
    return "LoadBalancer" if public else "ClusterIP"
