"""Workspace manifests for tests: every argument has a default."""

from __future__ import annotations

from typing import Any

from kaito.api.workspace import Workspace

UID = "6a2f1d5e-0000-4000-8000-000000000001"
PRIVATE_IMAGE = "registry.test/llama:1"


def a_manifest(
    preset: str | None = "falcon-7b-instruct",
    *,
    name: str = "falcon",
    sku: str = "Standard_NC12s_v3",
    count: int = 1,
    labels: dict[str, str] | None = None,
    private: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    """A Workspace as its user writes it; ``fields`` replace top-level ones, None removes one."""
    chosen: dict[str, Any] = {"name": preset}
    if private:
        chosen |= {"accessMode": "private", "presetOptions": {"image": PRIVATE_IMAGE}}
    manifest = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {
            "count": count,
            "instanceType": sku,
            "labelSelector": {"matchLabels": {"apps": "falcon"} if labels is None else labels},
        },
        "inference": {"preset": chosen},
        **fields,
    }
    return {key: value for key, value in manifest.items() if value is not None}


def a_template(**spec: Any) -> dict[str, Any]:
    """A pod template of the user's own."""
    container = {"name": "server", "image": "nginx:latest", "command": ["/bin/sleep", "10000"]}
    return {"spec": {"containers": [container], **spec}}


def a_tuning(**fields: Any) -> dict[str, Any]:
    """A tuning in good order; None removes a field."""
    tuning = {
        "preset": {"name": "falcon-7b"},
        "method": "lora",
        "input": {"name": "data", "hostPath": "/in"},
        "output": {"hostPath": "/out"},
        **fields,
    }
    return {key: value for key, value in tuning.items() if value is not None}


def a_stored(manifest: dict[str, Any], **metadata: Any) -> Workspace:
    """The manifest as the API server stores it."""
    given = {"namespace": "default", "uid": UID, **manifest["metadata"], **metadata}
    return Workspace.from_cluster({**manifest, "metadata": given})
