from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from kaito import cli
from kaito.runtime.ports import Object

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PUBLISHED = "mcr.microsoft.com/aks/kaito/kaito-"
PLACEHOLDER = "<YOUR IMAGE URL>"


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def remarks(self) -> list[str]:
        """What follows the table."""
        return self.lines[self.lines.index("") + 1 :] if "" in self.lines else []

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Kaito:
    """`kaito validate` in an empty directory."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def validate(self, *arguments: str, stdin: str = "") -> Answer:
        stream = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        self._monkeypatch.setattr("sys.stdin", stream)
        code = cli.run(["validate", *arguments])
        printed = self._capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    def judge(self, *objects: Object, options: tuple[str, ...] = ()) -> Answer:
        return self.validate("-", *options, stdin=yaml.safe_dump_all(objects, sort_keys=False))


@pytest.fixture
def kaito(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kaito:
    monkeypatch.chdir(tmp_path)
    return Kaito(capsys, monkeypatch)


def a_workspace(name: str = "w", **content: Any) -> Object:
    return {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
        **content,
    }


def a_resource(**fields: Any) -> Object:
    return {**a_workspace()["resource"], **fields}


def a_preset(name: str = "falcon-7b", **fields: Any) -> Object:
    return {"preset": {"name": name, **fields}}


def a_template(*images: str, **container: Any) -> Object:
    containers = [{"name": f"c{index}", "image": image, **container} for index, image in enumerate(images)]
    return {"template": {"spec": {"containers": containers}}}


# The examples

A100 = "Standard_NC96ads_A100_v4"
V100 = "Standard_NC12s_v3"
EXAMPLE_TABLE = {
    # file: nodes, instance, GPUs, GPU memory, disk, workload, image
    "falcon-7b": f"1|{V100}|1 of 2|14 of 32 GiB|50 GiB|Deployment|falcon-7b:0.0.4",
    "falcon-7b-instruct": f"1|{V100}|1 of 2|14 of 32 GiB|50 GiB|Deployment|falcon-7b-instruct:0.0.4",
    "falcon-40b": f"1|{A100}|2 of 4|90 of 320 GiB|400 GiB|Deployment|falcon-40b:0.0.5",
    "falcon-40b-instruct": f"1|{A100}|2 of 4|90 of 320 GiB|400 GiB|Deployment|falcon-40b-instruct:0.0.5",
    "mistral-7b": f"1|{V100}|1 of 2|14 of 32 GiB|100 GiB|Deployment|mistral-7b:0.0.4",
    "mistral-7b-instruct": f"1|{V100}|1 of 2|16 of 32 GiB|100 GiB|Deployment|mistral-7b-instruct:0.0.4",
    "phi-2": "1|Standard_NC6s_v3|1 of 1|12 of 16 GiB|50 GiB|Deployment|phi-2:0.0.3",
    "llama-2-7b": f"1|{V100}|1 of 2|14 of 32 GiB|34 GiB|Deployment|",
    "llama-2-7b-chat": f"1|{V100}|1 of 2|16 of 32 GiB|34 GiB|Deployment|",
    "llama-2-13b": f"1|{V100}|2 of 2|30 of 32 GiB|46 GiB|StatefulSet|",
    "llama-2-13b-chat": f"1|{V100}|2 of 2|30 of 32 GiB|46 GiB|StatefulSet|",
    "llama-2-70b": f"2|{A100}|8 of 8|152 of 640 GiB|158 GiB|StatefulSet|",
    "llama-2-70b-chat": f"2|{A100}|8 of 8|192 of 640 GiB|158 GiB|StatefulSet|",
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLE_TABLE)
def test_example_is_allowed_with_its_plan(kaito: Kaito, name: str) -> None:
    *cells, image = EXAMPLE_TABLE[name].split("|")

    answer = kaito.validate(str(EXAMPLES / f"{name}.yaml"))

    row = [cell.strip() for cell in answer.lines[1].split("   ") if cell.strip()]
    expected = f"{PUBLISHED}{image}" if image else PLACEHOLDER
    assert answer.code == 0
    assert row == [f"default/workspace-{name}", "allowed", *cells, expected]


def test_tuning_example_is_refused_with_the_reason(kaito: Kaito) -> None:
    path = EXAMPLES / "tuning-falcon-7b.yaml"

    answer = kaito.validate(str(path))

    assert answer.code == 1
    assert answer.lines[1].split() == ["default/workspace-tuning-falcon-7b", "refused", *["-"] * 7]
    assert answer.remarks == [f"{path}:11: tuning is not supported yet: tuning"]


def test_published_tuning_example_is_refused_for_its_place(kaito: Kaito) -> None:
    written = yaml.safe_load((EXAMPLES / "tuning-falcon-7b.yaml").read_text())
    spec = {part: written.pop(part) for part in ("resource", "tuning")}

    answer = kaito.judge({**written, "spec": spec})

    assert answer.code == 1
    assert [line.partition(": ")[2] for line in answer.remarks] == [
        "expected resource, inference and tuning at the top level, found spec: spec",
        "tuning is not supported yet: tuning",
    ]


def test_examples_are_judged_together(kaito: Kaito) -> None:
    paths = sorted(str(path) for path in EXAMPLES.glob("*.yaml"))

    answer = kaito.validate(*paths, "-o", "json")

    verdicts = {each["name"]: each["allowed"] for each in answer.json["workspaces"]}
    assert answer.code == 1
    assert len(verdicts) == 14
    assert [name for name, allowed in verdicts.items() if not allowed] == ["workspace-tuning-falcon-7b"]


# Verdicts


def test_every_refusal_is_told_with_its_line(kaito: Kaito) -> None:
    answer = kaito.validate(
        "-",
        stdin="""\
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: w}
resource:
  count: 0
  labelSelector: {matchLabels: {a: b}}
inference:
  preset:
    name: falcon
""",
    )

    assert answer.code == 1
    assert answer.remarks == [
        "standard input:5: invalid value: 0, at least 1 node is needed: resource.count",
        "standard input:7: invalid value: Unsupported inference preset name falcon: inference.presetName",
    ]


def test_refusals_under_spec_have_their_own_lines(kaito: Kaito) -> None:
    answer = kaito.validate(
        "-", stdin="kind: Workspace\nmetadata: {name: w}\nspec:\n  resource:\n    count: x\n"
    )

    lines = {line.rpartition(": ")[2]: line.split(":")[1] for line in answer.remarks}
    assert answer.code == 1
    assert (lines["spec"], lines["resource.count"]) == ("3", "5")


def test_refusal_beside_others_refuses_the_run(kaito: Kaito) -> None:
    answer = kaito.judge(a_workspace("a"), a_workspace("b", inference={}), a_workspace("c"))

    assert answer.code == 1
    assert [line.split()[:2] for line in answer.lines[1:4]] == [
        ["default/a", "allowed"],
        ["default/b", "refused"],
        ["default/c", "allowed"],
    ]


def test_template_is_planned_from_its_containers(kaito: Kaito) -> None:
    limits = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    inference = a_template("nginx:latest", "registry.io:5000/a/b", **limits)

    answer = kaito.judge(
        a_workspace(resource=a_resource(count=3), inference=inference), options=("-o", "json")
    )

    assert answer.json["workspaces"][0]["plan"] == {
        "nodes": 3,
        "instanceType": "Standard_NC12s_v3",
        "gpus": {"needed": 12, "offered": 6, "perNode": 2},
        "memoryGiB": {"needed": None, "offered": 96},
        "diskGiB": None,
        "workload": "Deployment",
        "images": ["nginx:latest", "registry.io:5000/a/b"],
    }


def test_each_replica_of_undistributed_model_needs_memory(kaito: Kaito) -> None:
    answer = kaito.judge(a_workspace(resource=a_resource(count=3)), options=("-o", "json"))

    plan = answer.json["workspaces"][0]["plan"]
    assert plan["memoryGiB"] == {"needed": 42, "offered": 96}
    assert plan["gpus"] == {"needed": 3, "offered": 6, "perNode": 2}


def test_unlisted_size_is_planned_with_question_marks(kaito: Kaito) -> None:
    answer = kaito.judge(a_workspace(resource=a_resource(instanceType="Standard_NC999")))

    assert "   1 of ?   14 of ? GiB   50 GiB   " in answer.lines[1]


def test_size_without_gpus_offers_none(kaito: Kaito) -> None:
    inference = a_template("nginx:latest")

    answer = kaito.judge(
        a_workspace(resource=a_resource(instanceType="Standard_D4s_v3"), inference=inference)
    )

    assert answer.code == 0
    assert "   Standard_D4s_v3   0 of 0   -            -      Deployment   nginx:latest" in answer.lines[1]


def test_json_holds_the_whole_answer(kaito: Kaito) -> None:
    answer = kaito.judge(
        a_workspace("a", inference=a_preset(name="nothing")), options=("--output", "json", "--strict")
    )

    assert answer.json == {
        "allowed": False,
        "workspaces": [
            {
                "file": "standard input",
                "line": 1,
                "namespace": "default",
                "name": "a",
                "operation": "create",
                "allowed": False,
                "refusals": [
                    "invalid value: Unsupported inference preset name nothing: inference.presetName"
                ],
                "warnings": [],
                "plan": None,
            }
        ],
        "skipped": [],
    }


# Warnings

WARNINGS: dict[str, tuple[Object, str]] = {
    "size not in the table": (
        a_workspace(resource=a_resource(instanceType="Standard_NC999")),
        "instance type Standard_NC999 is not in the table, nothing checks that the model fits: "
        "resource.instanceType",
    ),
    "adapters": (
        a_workspace(inference={**a_preset(), "adapters": [{"strength": "0.5"}]}),
        "adapters are ignored, they are not supported yet: inference.adapters",
    ),
    "image of public access": (
        a_workspace(inference=a_preset(presetOptions={"image": "mine:1"})),
        "image is ignored, as accessMode is public: inference.preset.presetOptions.image",
    ),
    "secrets of public access": (
        a_workspace(inference=a_preset(presetOptions={"imagePullSecrets": ["s"]})),
        "imagePullSecrets is ignored, as accessMode is public: "
        "inference.preset.presetOptions.imagePullSecrets",
    ),
    "placeholder for an image": (
        a_workspace(inference=a_preset(accessMode="private", presetOptions={"image": PLACEHOLDER})),
        f"{PLACEHOLDER} is no image reference, so it can never be pulled: "
        "inference.preset.presetOptions.image",
    ),
    "placeholder in a template": (
        a_workspace(inference=a_template("Not An Image")),
        "Not An Image is no image reference, so it can never be pulled: "
        "inference.template.spec.containers[0].image",
    ),
    "status": (
        a_workspace(status={"workerNodes": ["n"]}),
        "status is ignored, the operator alone writes it: status",
    ),
    "unknown metadata": (
        a_workspace(metadata={"name": "w", "lables": {}}),
        "unknown field is ignored, expected a known field, nearest is labels: metadata.lables",
    ),
    "load balancer that is not": (
        a_workspace(metadata={"name": "w", "annotations": {"kaito.sh/enablelb": "true"}}),
        "true has no effect, only True has: metadata.annotations.kaito.sh/enablelb",
    ),
    "model larger than a node": (
        a_workspace(
            resource=a_resource(instanceType="Standard_NC24s_v3", count=2), inference=a_preset("falcon-40b")
        ),
        "preset falcon-40b cannot be spread over nodes, and one Standard_NC24s_v3 with 4 GPUs and 64 GiB "
        "cannot hold its 2 GPUs and 90 GiB: resource.instanceType",
    ),
}


@pytest.mark.parametrize(("obj", "text"), WARNINGS.values(), ids=WARNINGS.keys())
def test_warning_lets_pass_unless_strict(kaito: Kaito, obj: Object, text: str) -> None:
    lenient, strict = kaito.judge(obj), kaito.judge(obj, options=("--strict",))

    assert (lenient.code, strict.code) == (0, 1)
    assert [line.partition(": warning: ")[2] for line in lenient.remarks] == [text]
    assert lenient.remarks == strict.remarks
    assert lenient.lines[1].split()[1] == "allowed"
    assert strict.lines[1].split()[1:] == ["refused", *["-"] * 7]


QUIET: dict[str, Object] = {
    "preset": a_workspace(),
    "private image of a public model": a_workspace(
        inference=a_preset(
            accessMode="private", presetOptions={"image": "registry.io/a/b:1@sha256:" + "0" * 64}
        )
    ),
    "empty parts": a_workspace(status={}, inference=a_preset(presetOptions={})),
    "load balancer": a_workspace(metadata={"name": "w", "annotations": {"kaito.sh/enablelb": "True"}}),
    "template on an unlisted size": a_workspace(
        resource=a_resource(instanceType="Standard_NC999"), inference=a_template("nginx")
    ),
    "distributed over nodes": a_workspace(
        resource=a_resource(instanceType=A100, count=2),
        inference=a_preset(
            "llama-2-70b", accessMode="private", presetOptions={"image": "localhost:5000/llama_2-70b:v1"}
        ),
    ),
}


@pytest.mark.parametrize("obj", QUIET.values(), ids=QUIET.keys())
def test_nothing_is_said_of_good_manifests(kaito: Kaito, obj: Object) -> None:
    answer = kaito.judge(obj, options=("--strict",))

    assert (answer.code, answer.remarks, answer.err) == (0, [], "")


def test_second_manifest_of_a_name_is_warned_of(kaito: Kaito) -> None:
    elsewhere = a_workspace(metadata={"name": "w", "namespace": "other"})

    answer = kaito.judge(a_workspace(), elsewhere, a_workspace())

    assert answer.code == 0
    (remark,) = answer.remarks
    assert "the same Workspace stands at standard input:1, the later one would change it" in remark


# Files of several objects


def test_other_kinds_are_skipped_with_a_note(kaito: Kaito) -> None:
    machine = {"apiVersion": "karpenter.sh/v1alpha5", "kind": "Machine", "metadata": {"name": "ws1"}}
    tenant = {"apiVersion": "tenancy.example.com/v1", "kind": "Workspace", "metadata": {"name": "t"}}

    answer = kaito.judge(machine, a_workspace(), tenant)

    assert answer.code == 0
    assert len(answer.lines) == 2
    first, second = answer.err.splitlines()
    assert first == "standard input:1: skipped Machine ws1, only Workspaces are judged"
    assert second.endswith(": skipped Workspace t, only Workspaces are judged")


def test_misspelt_kind_of_our_group_is_refused(kaito: Kaito) -> None:
    answer = kaito.judge(a_workspace() | {"kind": "Workspce"})

    assert answer.code == 1
    assert answer.remarks == ["standard input:2: expected Workspace, found Workspce: kind"]


def test_lists_are_taken_apart_with_their_lines(kaito: Kaito, tmp_path: Path) -> None:
    items = [a_workspace("a"), a_workspace("b", inference={})]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}, sort_keys=False)
    (tmp_path / "list.yaml").write_text(text)

    answer = kaito.validate("list.yaml")

    line = text.splitlines().index("  inference: {}") + 1
    assert answer.code == 1
    assert answer.remarks == [
        f"list.yaml:{line}: missing field(s): inference.Preset or Template must be specified"
    ]


def test_generated_names_are_shown_as_such(kaito: Kaito) -> None:
    answer = kaito.judge(
        a_workspace(metadata={"generateName": "falcon-"}), a_workspace(metadata={"generateName": "falcon-"})
    )

    assert answer.lines[1].split()[0] == "default/falcon-*"


def test_json_files_are_taken_as_well(kaito: Kaito) -> None:
    answer = kaito.validate("-", stdin=json.dumps(a_workspace()))

    assert answer.code == 0


# Changes


def stored(obj: Object) -> Object:
    """As kubectl prints it."""
    metadata = {
        "namespace": "default",
        "uid": "1",
        "resourceVersion": "7",
        "managedFields": [{"manager": "k"}],
    }
    return {**obj, "metadata": {**obj["metadata"], **metadata}, "status": {}}


def test_pairs_are_judged_as_changes(kaito: Kaito, tmp_path: Path) -> None:
    old = {"apiVersion": "v1", "kind": "List", "items": [stored(a_workspace("a")), stored(a_workspace("b"))]}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(old))
    changed = a_workspace("b", resource=a_resource(count=2), inference=a_preset("falcon-40b"))

    answer = kaito.judge(
        a_workspace("a", resource=a_resource(preferredNodes=["n"])),
        changed,
        a_workspace("c"),
        options=("--old", "old.yaml", "-o", "json"),
    )

    assert answer.code == 1
    assert [(each["operation"], each["allowed"]) for each in answer.json["workspaces"]] == [
        ("update", True),
        ("update", False),
        ("create", True),
    ]
    assert answer.json["workspaces"][1]["refusals"] == [
        "field is immutable: inference.preset, resource.count"
    ]


def test_same_name_elsewhere_is_no_pair(kaito: Kaito, tmp_path: Path) -> None:
    other = stored(a_workspace())
    other["metadata"]["namespace"] = "other"
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(other))

    answer = kaito.judge(a_workspace(), options=("--old", "old.yaml", "-o", "json"))

    assert answer.json["workspaces"][0]["operation"] == "create"


def test_change_of_what_cannot_be_served_is_warned_of(kaito: Kaito, tmp_path: Path) -> None:
    odd = a_workspace(resource=a_resource(instanceType="Standard_NC6"), inference=a_preset("falcon-40b"))
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(stored(odd)))

    answer = kaito.judge(odd, options=("--old", "old.yaml"))

    assert answer.code == 0
    assert answer.lines[1].split()[1:] == ["allowed", *["-"] * 7]
    assert "it cannot be served: invalid value: Insufficient" in answer.remarks[-1]


# The user's own presets


def test_own_presets_are_known(kaito: Kaito, tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    built_in = ROOT / "kaito" / "catalogue" / "presets" / "phi-2.yaml"
    text = built_in.read_text().replace("phi-2", "phi-9")
    (tmp_path / "presets" / "phi-9.yaml").write_text(text)
    workspace = a_workspace(inference=a_preset("phi-9"))

    assert kaito.judge(workspace).code == 1
    assert kaito.judge(workspace, options=("--presets", "presets")).code == 0


def test_bad_preset_file_is_bad_input(kaito: Kaito, tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "x.yaml").write_text("name: x\n")

    answer = kaito.judge(a_workspace(), options=("--presets", "presets"))

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: presets/x.yaml:1: ")


# Bad input

BAD_INPUT = {
    "no YAML": ("a: [1", "error: standard input:2:1:", "expected YAML, found a syntax error"),
    "no object": ("- 1", "error: standard input:1: expected a mapping, found a list", ""),
    "no kind": ("apiVersion: kaito.sh/v1alpha1", "error: standard input:1: kind: expected Workspace", ""),
    "nothing": ("", "error: standard input: expected a Workspace, found none", ""),
    "nothing of ours": ("kind: Pod", "error: standard input: expected a Workspace, found none", ""),
    "item that is no object": (
        "kind: List\nitems:\n- {kind: Pod}\n- x",
        'error: standard input:4: expected a mapping, found "x"',
        "",
    ),
}


@pytest.mark.parametrize(("text", "start", "part"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_exit_two(kaito: Kaito, text: str, start: str, part: str) -> None:
    answer = kaito.validate("-", stdin=text)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(start)
    assert part in answer.err
    assert answer.err.count("\n") == 1


def test_bad_files_are_all_told_and_nothing_is_judged(kaito: Kaito, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "phi-2.yaml", tmp_path)
    (tmp_path / "bad.yaml").write_text("- 1")

    answer = kaito.validate("phi-2.yaml", "nowhere.yaml", "bad.yaml")

    assert (answer.code, answer.out) == (2, "")
    assert "nowhere.yaml: expected a file that can be read, found: no such file or directory" in answer.err
    assert "bad.yaml:1: expected a mapping, found a list" in answer.err


def test_missing_old_file_is_bad_input(kaito: Kaito) -> None:
    answer = kaito.judge(a_workspace(), options=("--old", "nowhere.yaml"))

    assert (answer.code, answer.out) == (2, "")
    assert "nowhere.yaml: expected a file that can be read" in answer.err


def test_old_file_without_workspace_is_bad_input(kaito: Kaito, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("kind: Pod")

    answer = kaito.judge(a_workspace(), options=("--old", "old.yaml"))

    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: old.yaml: expected a Workspace, found none\n"


def test_standard_input_is_read_once(kaito: Kaito) -> None:
    answer = kaito.judge(a_workspace(), options=("--old", "-"))

    assert (answer.code, answer.err) == (2, "error: FILE: expected - once, found it again\n")


ODD: list[Object] = [
    {"metadata": None},
    {"metadata": {"name": 7, "namespace": []}},
    {"resource": "x", "inference": [], "status": 5},
    {"inference": a_template("i", resources=5)},
    {"inference": a_template("i", resources={"limits": 1})},
    {"inference": a_template("i", resources={"limits": {"nvidia.com/gpu": [1]}})},
    {"inference": {"template": {"spec": {"containers": [7]}}}},
    {"apiVersion": 5},
]


@pytest.mark.parametrize("content", ODD)
def test_odd_objects_get_a_verdict(kaito: Kaito, content: Object) -> None:
    answer = kaito.judge(a_workspace(**content), options=("-o", "json"))

    assert answer.code in (0, 1)
    assert len(answer.json["workspaces"]) == 1
