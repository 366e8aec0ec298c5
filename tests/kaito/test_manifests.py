"""Manifests: what follows from the Workspace and its preset, case by case."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito import manifests
from kaito.catalogue import Catalogue
from tests.kaito.workspaces import PRIVATE_IMAGE, UID, a_manifest, a_stored, a_template

CATALOGUE = Catalogue.load()
REGISTRY = "registry.test/kaito"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def rendered(manifest: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    workspace = a_stored(manifest, **metadata)
    return manifests.workload(workspace, CATALOGUE.presets.get(workspace.preset_name), registry=REGISTRY)


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(workload)["containers"]
    found: dict[str, Any] = container
    return found


def terms_of(workload: dict[str, Any]) -> list[dict[str, Any]]:
    terms: list[dict[str, Any]] = pod_of(workload)["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    return terms


def is_one_of(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


LLAMA_70B = a_manifest("llama-2-70b", sku="Standard_NC96ads_A100_v4", count=2, private=True)
TEMPLATED = a_manifest(inference={"template": a_template()}, count=2)
OUR_TERM = [is_one_of("apps", "falcon"), is_one_of("node.kubernetes.io/instance-type", "Standard_NC12s_v3")]


# --- machine ------------------------------------------------------------------------------------------


def machine_of(manifest: dict[str, Any]) -> dict[str, Any]:
    workspace = a_stored(manifest)
    return manifests.machine(workspace, CATALOGUE.presets.get(workspace.preset_name), name="ws000000000")


def test_machine_labels_say_whose_it_is() -> None:
    labels = machine_of(a_manifest())["metadata"]["labels"]

    assert labels == {
        "karpenter.sh/provisioner-name": "default",
        "kaito.sh/workspace": "falcon",
        "kaito.sh/workspacenamespace": "default",
        "kaito.sh/workspace-uid": UID,
        "apps": "falcon",
    }


def test_user_labels_never_replace_ours() -> None:
    """Such labels are refused at admission, but a stored object may have them."""
    theirs = {
        "kaito.sh/workspace": "x",
        "kaito.sh/workspace-uid": "x",
        "kaito.sh/workspacenamespace": "x",
        "karpenter.sh/provisioner-name": "x",
    }

    assert "x" not in machine_of(a_manifest(labels=theirs))["metadata"]["labels"].values()


def test_single_value_expressions_become_labels() -> None:
    manifest = a_manifest()
    manifest["resource"]["labelSelector"]["matchExpressions"] = [is_one_of("zone", "1")]

    assert machine_of(manifest)["metadata"]["labels"]["zone"] == "1"
    assert is_one_of("zone", "1") in terms_of(rendered(manifest))[0]["matchExpressions"]


@pytest.mark.parametrize(
    ("preset", "storage"),
    [("falcon-7b", "50Gi"), ("falcon-40b", "400Gi"), ("llama-2-70b", "158Gi"), (None, "0")],
)
def test_disk_is_asked_for_in_gib(preset: str | None, storage: str) -> None:
    manifest = a_manifest(preset) if preset else TEMPLATED

    assert machine_of(manifest)["spec"]["resources"] == {"requests": {"storage": storage}}


def test_machine_is_cluster_scoped_and_unowned() -> None:
    assert set(machine_of(a_manifest())["metadata"]) == {"name", "labels"}


# --- services -----------------------------------------------------------------------------------------


def service_of(manifest: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    workspace = a_stored(manifest, **metadata)
    return manifests.service(workspace, CATALOGUE.presets.get(workspace.preset_name))


def test_service_of_a_deployment_selects_all_pods() -> None:
    spec = service_of(a_manifest())["spec"]

    assert spec["selector"] == {"kaito.sh/workspace": "falcon"}
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(80, 5000), (29500, 29500)]
    assert spec["publishNotReadyAddresses"] is True


def test_service_of_a_stateful_set_selects_pod_zero() -> None:
    selector = service_of(LLAMA_70B)["spec"]["selector"]

    assert selector == {
        "kaito.sh/workspace": "falcon",
        "statefulset.kubernetes.io/pod-name": "falcon-0",
    }


@pytest.mark.parametrize(
    ("value", "kind"),
    [("True", "LoadBalancer"), ("true", "ClusterIP"), ("False", "ClusterIP"), (None, "ClusterIP")],
)
def test_only_exactly_true_opens_a_load_balancer(value: str | None, kind: str) -> None:
    annotations = {} if value is None else {"kaito.sh/enablelb": value}

    assert service_of(a_manifest(), annotations=annotations)["spec"]["type"] == kind


def test_only_presets_get_a_service() -> None:
    assert manifests.wants_service(a_stored(a_manifest())) is True
    assert manifests.wants_service(a_stored(TEMPLATED)) is False


def test_owned_objects_name_the_workspace_by_uid() -> None:
    workspace = a_stored(LLAMA_70B)
    owner = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "name": "falcon",
        "uid": UID,
        "controller": True,
        "blockOwnerDeletion": True,
    }

    for owned in (service_of(LLAMA_70B), manifests.headless_service(workspace), rendered(LLAMA_70B)):
        assert owned["metadata"]["ownerReferences"] == [owner]
        assert owned["metadata"]["namespace"] == "default"


# --- workload -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CATALOGUE.presets))
def test_only_distributed_presets_are_stateful(name: str) -> None:
    preset = CATALOGUE.presets[name]
    expected = "StatefulSet" if name.startswith(("llama-2-13b", "llama-2-70b")) else "Deployment"

    assert manifests.workload_kind(a_stored(a_manifest(name)), preset) == expected


def test_template_is_always_a_deployment() -> None:
    assert manifests.workload_kind(a_stored(TEMPLATED), None) == "Deployment"


GPUS = [
    ("falcon-7b", "Standard_NC12s_v3", 1, 1),
    ("falcon-40b", "Standard_NC96ads_A100_v4", 1, 2),
    ("falcon-40b", "Standard_NC96ads_A100_v4", 2, 2),
    ("falcon-40b", "Standard_NC24ads_A100_v4", 2, 1),
    ("llama-2-13b", "Standard_NC12s_v3", 1, 2),
    ("llama-2-13b", "Standard_NC6s_v3", 2, 1),
    ("llama-2-70b", "Standard_NC96ads_A100_v4", 2, 4),
    ("llama-2-70b", "Standard_ND96amsr_A100_v4", 1, 8),
    ("llama-2-70b", "Standard_NC96ads_A100_v4", 3, 3),
    ("llama-2-70b", "Standard_NX_future", 4, 2),
]


@pytest.mark.parametrize(("preset", "sku", "count", "gpus"), GPUS)
def test_pod_asks_for_what_its_node_has(preset: str, sku: str, count: int, gpus: int) -> None:
    resources = container_of(rendered(a_manifest(preset, sku=sku, count=count, private=True)))["resources"]

    assert resources == {
        "requests": {"nvidia.com/gpu": str(gpus)},
        "limits": {"nvidia.com/gpu": str(gpus)},
    }


def shell_line(manifest: dict[str, Any]) -> str:
    command = container_of(rendered(manifest))["command"]
    assert command[:2] == ["/bin/sh", "-c"]
    return str(command[2])


def test_shell_line_of_one_process_is_as_published() -> None:
    assert shell_line(a_manifest("phi-2")) == (
        "accelerate launch --num_processes=1 --num_machines=1 --machine_rank=0 --gpu_ids=all "
        "inference_api.py --torch_dtype=float16 --pipeline=text-generation"
    )


def test_shell_line_of_one_node_meets_locally() -> None:
    assert shell_line(a_manifest("llama-2-13b", private=True)) == (
        "cd /workspace/llama/llama-2 && torchrun --nnodes=1 --nproc_per_node=2 --node_rank=0 "
        "--master_addr=localhost --master_port=29500 --max_restarts=3 --rdzv_id=job --rdzv_backend=c10d "
        "--rdzv_endpoint=falcon-0.falcon-headless.default.svc.cluster.local:29500 "
        "inference_api.py --max_seq_len=512 --max_batch_size=8"
    )


def test_shell_line_of_many_nodes_meets_at_pod_zero() -> None:
    address = "falcon-0.falcon-headless.default.svc.cluster.local"

    assert shell_line(LLAMA_70B) == (
        "cd /workspace/llama/llama-2 && torchrun --nnodes=2 --nproc_per_node=4 "
        f"--node_rank=$(echo $HOSTNAME | grep -o '[^-]*$') --master_addr={address} --master_port=29500 "
        f"--max_restarts=3 --rdzv_id=job --rdzv_backend=c10d --rdzv_endpoint={address}:29500 "
        "inference_api.py --max_seq_len=512 --max_batch_size=8"
    )


def test_no_workspace_changes_the_next_ones_command() -> None:
    """The published maps were shared, so a distributed Workspace leaked its ranks into others."""
    small = a_manifest("llama-2-7b", private=True)
    before = rendered(small)

    for count in (8, 4, 2):
        rendered(a_manifest("llama-2-70b", count=count, private=True))

    assert rendered(small) == before


IMAGES = [
    ("phi-2", {}, f"{REGISTRY}/kaito-phi-2:0.0.3", None),
    ("phi-2", {"presetOptions": {"image": "i"}}, f"{REGISTRY}/kaito-phi-2:0.0.3", None),
    (
        "phi-2",
        {"presetOptions": {"image": "i", "imagePullSecrets": ["a"]}},
        f"{REGISTRY}/kaito-phi-2:0.0.3",
        None,
    ),
    ("phi-2", {"accessMode": "private", "presetOptions": {"image": "i"}}, "i", None),
    (
        "phi-2",
        {"accessMode": "private", "presetOptions": {"image": "i", "imagePullSecrets": ["a", "b"]}},
        "i",
        [{"name": "a"}, {"name": "b"}],
    ),
    (
        "llama-2-7b",
        {"accessMode": "private", "presetOptions": {"image": PRIVATE_IMAGE, "imagePullSecrets": ["a"]}},
        PRIVATE_IMAGE,
        [{"name": "a"}],
    ),
]


@pytest.mark.parametrize(("preset", "options", "image", "secrets"), IMAGES)
def test_private_access_uses_the_users_image(
    preset: str, options: dict[str, Any], image: str, secrets: list[dict[str, str]] | None
) -> None:
    workload = rendered(a_manifest(inference={"preset": {"name": preset, **options}}))

    assert container_of(workload)["image"] == image
    assert pod_of(workload).get("imagePullSecrets") == secrets


def test_pods_run_on_nodes_of_label_and_type() -> None:
    assert terms_of(rendered(a_manifest())) == [{"matchExpressions": OUR_TERM}]


def test_pods_can_be_held_to_chosen_nodes() -> None:
    workspace = a_stored(a_manifest(count=2))

    workload = manifests.workload(
        workspace, CATALOGUE.presets["falcon-7b"], registry=REGISTRY, worker_nodes=["b", "a", "b"]
    )

    assert terms_of(workload) == [
        {"matchExpressions": OUR_TERM, "matchFields": [is_one_of("metadata.name", node)]}
        for node in ("a", "b")
    ]


def test_shared_memory_serves_several_processes() -> None:
    def volumes(manifest: dict[str, Any]) -> Any:
        workload = rendered(manifest)
        mounts = container_of(workload).get("volumeMounts")
        assert bool(mounts) == bool(pod_of(workload).get("volumes"))
        return mounts

    mount = [{"name": "dshm", "mountPath": "/dev/shm"}]
    assert volumes(a_manifest()) is None
    assert volumes(a_manifest(count=2)) == mount
    assert volumes(a_manifest("llama-2-13b", private=True)) == mount


def test_security_settings_leave_root_alone() -> None:
    workload = rendered(a_manifest())
    pod = pod_of(workload)

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert container_of(workload)["securityContext"] == {"allowPrivilegeEscalation": False}


# --- templates ----------------------------------------------------------------------------------------

OUR_TOLERATIONS = [
    {"key": "gpu", "operator": "Equal", "value": "", "effect": "NoSchedule"},
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
]


def templated(**spec: Any) -> dict[str, Any]:
    return rendered(a_manifest(inference={"template": a_template(**spec)}))


def test_template_keeps_what_its_author_wrote() -> None:
    template = a_template(hostNetwork=True, securityContext={"runAsUser": 7})
    template["metadata"] = {"labels": {"a": "b", "kaito.sh/workspace": "x"}, "annotations": {"c": "d"}}
    given = copy.deepcopy(template)

    workload = rendered(a_manifest(inference={"template": template}, count=3))

    pod = workload["spec"]["template"]
    assert template == given
    assert workload["spec"]["replicas"] == 3
    assert pod["metadata"] == {
        "labels": {"a": "b", "kaito.sh/workspace": "falcon"},
        "annotations": {"c": "d"},
    }
    assert {key: pod["spec"][key] for key in given["spec"]} == given["spec"]


def test_template_tolerations_are_merged() -> None:
    own = [{"key": "mine", "operator": "Exists"}, OUR_TOLERATIONS[1]]

    assert pod_of(templated())["tolerations"] == OUR_TOLERATIONS
    assert pod_of(templated(tolerations=own))["tolerations"] == [*own, OUR_TOLERATIONS[0]]


def test_template_affinity_is_merged() -> None:
    """Terms are alternatives, so ours goes into each of theirs; everything else stays."""
    own = {
        "podAffinity": {"p": 1},
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}],
            REQUIRED: {
                "nodeSelectorTerms": [
                    {"matchExpressions": [is_one_of("zone", "1")]},
                    {"matchFields": [is_one_of("metadata.name", "n")]},
                ]
            },
        },
    }

    affinity = pod_of(templated(affinity=own))["affinity"]

    assert affinity["podAffinity"] == {"p": 1}
    assert affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == [{"weight": 1}]
    assert affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [
        {"matchExpressions": [is_one_of("zone", "1"), *OUR_TERM]},
        {"matchFields": [is_one_of("metadata.name", "n")], "matchExpressions": OUR_TERM},
    ]


def test_nothing_to_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="default/falcon has neither a template nor a known preset"):
        manifests.workload(a_stored(a_manifest("gone")), None)


# --- all of them --------------------------------------------------------------------------------------


def all_manifests(name: str, count: int, worker_nodes: list[str]) -> list[dict[str, Any]]:
    workspace, preset = a_stored(a_manifest(name, count=count, private=True)), CATALOGUE.presets[name]
    return [
        manifests.machine(workspace, preset, name="ws000000000"),
        manifests.service(workspace, preset),
        manifests.headless_service(workspace),
        manifests.workload(workspace, preset, registry=REGISTRY, worker_nodes=worker_nodes),
    ]


def values_in(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [found for child in value.values() for found in values_in(child)]
    if isinstance(value, list):
        return [found for child in value for found in values_in(child)]
    return [value]


@given(st.sampled_from(sorted(CATALOGUE.presets)), st.integers(1, 9), st.lists(st.sampled_from("abc")))
def test_manifests_are_json_pure_and_unshared(name: str, count: int, worker_nodes: list[str]) -> None:
    first, second = (all_manifests(name, count, worker_nodes) for _ in range(2))

    assert json.dumps(first) == json.dumps(second)
    assert None not in values_in(first)
    _spoil(first)
    assert all_manifests(name, count, worker_nodes) == second


def _spoil(value: Any) -> None:
    """Change everything that can be changed, so that shared parts would show."""
    for child in list(value.values()) if isinstance(value, dict) else list(value):
        if isinstance(child, dict | list):
            _spoil(child)
    value.clear()
