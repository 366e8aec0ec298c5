"""Profiles: complete, sourced, refused in one line when wrong, and true to the measurements they quote."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from simulator import profile
from simulator.latency import Fixed, Lognormal
from simulator.profile import Image, InvalidProfile
from tests.simulator.published import observed_seconds

BUILT_IN = Path(profile.__file__).parent / "profiles"
PRESETS = {
    "falcon-7b",
    "falcon-7b-instruct",
    "falcon-40b",
    "falcon-40b-instruct",
    "mistral-7b",
    "mistral-7b-instruct",
    "phi-2",
    "llama-2-7b",
    "llama-2-7b-chat",
    "llama-2-13b",
    "llama-2-13b-chat",
    "llama-2-70b",
    "llama-2-70b-chat",
}
TREE = yaml.safe_load((BUILT_IN / "aks-gpu.yaml").read_text(encoding="utf-8"))

every_profile = pytest.mark.parametrize("name", ["aks-gpu", "reference-run"])


def written(directory: Path, tree: Any) -> Path:
    path = directory / "mine.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), encoding="utf-8")
    return path


def changed(change: Callable[[Any], object]) -> Any:
    tree = copy.deepcopy(TREE)
    change(tree)
    return tree


# --- what comes with the simulator


def test_two_profiles_come_along() -> None:
    assert profile.names() == ["aks-gpu", "reference-run"]


@every_profile
def test_every_parameter_names_source_and_mark(name: str) -> None:
    tree = yaml.safe_load((BUILT_IN / f"{name}.yaml").read_text(encoding="utf-8"))
    sections = [tree[section] for section in ("machine", "node", "workload", "deletion", "images")]
    entries = [entry for section in sections for entry in section.values()]

    assert len(entries) == 4 + 2 + 8 + 3 + 14
    assert all(len(entry["source"]) > 20 and entry["mark"] in ("measured", "assumed") for entry in entries)


@every_profile
def test_parameters_are_the_whole_file(name: str) -> None:
    tree = yaml.safe_load((BUILT_IN / f"{name}.yaml").read_text(encoding="utf-8"))
    listed = [path for path, _ in profile.load(name).parameters()]

    assert listed == [
        f"{section}.{key}" for section in ("machine", "node", "workload", "deletion") for key in tree[section]
    ]


@every_profile
def test_every_preset_has_an_image(name: str) -> None:
    assert set(profile.load(name).images) == PRESETS | {"default"}


def test_reference_run_has_no_spread() -> None:
    parameters = dict(profile.load("reference-run").parameters())

    assert {type(parameter.distribution) for parameter in parameters.values()} == {Fixed}


def test_reference_run_sums_are_the_logs() -> None:
    run = profile.load("reference-run")
    value = {path: parameter.sample(Random(0)) for path, parameter in run.parameters()}
    image = run.image("kaito-falcon-7b-instruct:0.0.2")

    launch = sum(value[f"machine.{phase}"] for phase in ("request", "operation", "node_wait"))
    inference = (
        value["workload.scheduling"]
        + image.image_bytes / value["workload.pull_rate"]
        + value["workload.container_start"]
        + value["workload.framework_start"]
        + image.weights_bytes / value["workload.weights_disk_rate"]
        + value["workload.probe_slack"]
    )
    deletion = sum(value[f"deletion.{phase}"] for phase in ("termination_grace", "request", "operation"))

    assert launch == pytest.approx(257.575)
    assert value["node.ready"] == pytest.approx(0.698)
    assert value["node.gpu_allocatable"] == pytest.approx(1.017)
    assert inference == pytest.approx(720)
    assert deletion == pytest.approx(63.917)


def test_loading_twice_gives_one_value() -> None:
    assert profile.load("aks-gpu") is profile.load("aks-gpu")


def test_profiles_refuse_to_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        profile.load("aks-gpu").name = "other"


@pytest.mark.parametrize(
    ("reference", "entry"),
    [
        ("mcr.microsoft.com/aks/kaito/kaito-falcon-7b-instruct:0.0.4", "falcon-7b-instruct"),
        ("registry:5000/kaito-phi-2:1@sha256:abc", "phi-2"),
        ("llama-2-7b", "llama-2-7b"),
        ("nginx:latest", "default"),
        ("", "default"),
    ],
)
def test_image_is_found_by_preset(reference: str, entry: str) -> None:
    chosen = profile.load("aks-gpu")

    assert chosen.image(reference) is chosen.images[entry]


# --- a user's file


def test_file_of_the_same_form_loads(tmp_path: Path) -> None:
    tree = changed(lambda tree: tree["machine"]["operation"]["parts"][0]["of"].update(median=300))

    loaded = profile.load(str(written(tmp_path, tree)))

    assert loaded.node == profile.load("aks-gpu").node
    assert loaded.machine.operation.distribution.parts[0].of == Lognormal(median=300, p95=400)


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        tree[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        del tree[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            put("machine", "request", "median", value="4m"),
            "machine.request.median: expected a valid number, found '4m'",
        ),
        (
            put("machine", "request", "median", value=True),
            "machine.request.median: expected a valid number, found True",
        ),
        (
            put("machine", "request", "median", value=-1),
            "machine.request.median: expected greater than 0, found -1",
        ),
        (
            put("machine", "request", "p95", value=1),
            "machine.request: p95 must not be below the median, found 1 and 1.5",
        ),
        (put("machine", "request", "p99", value=9), "machine.request.p99: expected no field of this name"),
        (drop("machine", "request", "p95"), "machine.request.p95: expected a value, found none"),
        (drop("machine", "request", "source"), "machine.request.source: expected a value, found none"),
        (drop("machine", "request", "mark"), "machine.request.mark: expected a value, found none"),
        (drop("machine", "request", "unit"), "machine.request.unit: expected a value, found none"),
        (
            drop("machine", "request", "distribution"),
            "machine.request.distribution: expected a value, found none",
        ),
        (
            put("machine", "request", "distribution", value="normal"),
            "machine.request.distribution: expected a distribution out of "
            "'fixed', 'uniform', 'lognormal', 'mixture', found normal",
        ),
        (
            put("machine", "request", "unit", value="minutes"),
            "machine.request.unit: expected 'seconds', found 'minutes'",
        ),
        (
            put("machine", "request", "mark", value="guessed"),
            "machine.request.mark: expected 'measured' or 'assumed', found 'guessed'",
        ),
        (
            put("machine", "operation", "parts", 1, "of", "median", value="x"),
            "machine.operation.parts.1.of.median: expected a valid number, found 'x'",
        ),
        (
            put("machine", "operation", "parts", 1, "weight", value=0.5),
            "machine.operation: the weights must sum to 1, found 1.47",
        ),
        (drop("machine", "request"), "machine.request: expected a value, found none"),
        (drop("node"), "node: expected a value, found none"),
        (put("node", value=3), "node: expected a mapping, found 3"),
        (put("node", "ready", value=3), "node.ready: expected a mapping, found 3"),
        (put("images", value=[]), "images: expected a mapping, found []"),
        (put("nodes", value={}), "nodes: expected no field of this name"),
        (
            put("workload", "pull_rate", value={**TREE["node"]["ready"], "value": 0, "unit": "bytes/second"}),
            "workload.pull_rate.distribution: a rate must be above 0",
        ),
        (
            put("images", "phi-2", "image_bytes", value=0.5),
            "images.phi-2.image_bytes: expected a valid integer, found 0.5",
        ),
        (drop("images", "default"), "images: an entry default is needed, for images that no preset names"),
    ],
)
def test_wrong_field_is_named_in_one_line(
    tmp_path: Path, change: Callable[[Any], None], complaint: str
) -> None:
    path = written(tmp_path, changed(change))

    with pytest.raises(InvalidProfile) as refused:
        profile.load(str(path))

    assert str(refused.value) == f"{path}: {complaint}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "line 1, column 8: expected the node content, but found '<stream end>'"),
        ("name: a\nname: b\n", "line 2, column 1: the key name occurs twice"),
        ("", "expected a mapping, found None"),
        ("- 1", "expected a mapping, found [1]"),
    ],
)
def test_file_that_is_no_profile_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(InvalidProfile) as refused:
        profile.load(str(path))

    assert str(refused.value) == f"{path}: {complaint}"


def test_binary_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InvalidProfile) as refused:
        profile.load(str(path))

    assert "expected a YAML file" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_profile_lists_the_known() -> None:
    with pytest.raises(InvalidProfile) as refused:
        profile.load("aks-cpu")

    assert str(refused.value) == (
        "profile aks-cpu: expected aks-gpu or reference-run or a YAML file, found neither"
    )


# --- single numbers


def test_number_at_a_path_is_replaced() -> None:
    chosen = profile.load("aks-gpu").with_values({"profile.machine.request.median": 2.0})

    assert chosen.machine.request.distribution == Lognormal(median=2, p95=6)
    assert profile.load("aks-gpu").machine.request.distribution == Lognormal(median=1.5, p95=6)


def test_path_of_a_parameter_fixes_it() -> None:
    chosen = profile.load("aks-gpu").with_values({"machine.operation": 300})

    assert chosen.machine.operation.distribution == Fixed(value=300)
    assert chosen.machine.operation.unit == "seconds"


def test_path_into_a_mixture_works() -> None:
    chosen = profile.load("aks-gpu").with_values(
        {"machine.operation.parts.0.weight": 0.9, "machine.operation.parts.1.weight": 0.1}
    )

    assert [part.weight for part in chosen.machine.operation.distribution.parts] == [0.9, 0.1]


def test_image_size_takes_a_whole_number() -> None:
    chosen = profile.load("aks-gpu").with_values({"images.phi-2.image_bytes": 3e9})

    assert chosen.image("kaito-phi-2").image_bytes == 3_000_000_000


@pytest.mark.parametrize("path", ["machine.request", "machine.request.median", "images.phi-2.image_bytes"])
def test_replaced_number_loses_its_mark(path: str) -> None:
    chosen = profile.load("aks-gpu").with_values({path: 5})
    touched: Any = chosen.images["phi-2"] if path.startswith("images") else chosen.machine.request

    assert touched.mark == "assumed"
    assert "set by hand; without it: " in touched.source


def test_other_parameters_keep_source_and_mark() -> None:
    before, after = profile.load("aks-gpu"), profile.load("aks-gpu").with_values({"machine.request": 5})

    assert dict(before.parameters()).keys() == dict(after.parameters()).keys()
    same = [path for path, value in after.parameters() if value == dict(before.parameters())[path]]
    assert len(same) == len(dict(before.parameters())) - 1


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (
            "machine.oprations",
            1,
            "machine.oprations: expected the path of a number in the profile, found no such path; "
            "near it: machine.operation, machine.cpu_operation",
        ),
        ("machine", 1, "machine: expected the path of a number, found a section"),
        (
            "machine.operation.parts",
            1,
            "machine.operation.parts: expected the path of a number, found a list",
        ),
        ("machine.request.source", 1, "machine.request.source: expected the path of a number, found a text"),
        (
            "machine.request.median.more",
            1,
            "machine.request.median.more: expected the path of a number in the profile, found no such path",
        ),
        (
            "machine.operation.parts.2",
            1,
            "machine.operation.parts.2: expected the path of a number in the profile, found no such path",
        ),
        (
            "machine.request.median",
            60,
            "profile aks-gpu: machine.request: p95 must not be below the median, found 6 and 60",
        ),
        (
            "images.phi-2.image_bytes",
            0.5,
            "profile aks-gpu: images.phi-2.image_bytes: expected a valid integer, found 0.5",
        ),
    ],
)
def test_value_that_does_not_fit_is_refused(path: str, value: float, complaint: str) -> None:
    with pytest.raises(InvalidProfile) as refused:
        profile.load("aks-gpu").with_values({path: value})

    assert str(refused.value) == complaint


# --- what the distributions add up to

DRAWS = 20_000


class Model:
    """The phases of one run added up, without the world around them; one generator for each phase."""

    def __init__(self) -> None:
        self.profile = profile.load("aks-gpu")
        self._parameters = dict(self.profile.parameters())
        self._random = {path: Random(f"draws/{path}") for path in self._parameters}

    def seconds(self, path: str) -> float:
        return self._parameters[path].sample(self._random[path])

    def seen_launch(self) -> float:
        """Create call to launched, as our provisioner sees it: the moment the node joins."""
        return sum(self.seconds(f"machine.{phase}") for phase in ("request", "operation", "node_wait"))

    def launch(self) -> float:
        """Create call to launched, as the published provisioner saw it."""
        operation = observed_seconds(self.seconds("machine.operation"), 30)
        return self.seconds("machine.request") + operation + self.seconds("machine.node_wait")

    def workload(self, image: Image) -> float:
        rate = "weights_disk_rate" if image.weights_from == "disk" else "weights_download_rate"
        serving = self.seconds("workload.framework_start")
        serving += image.weights_bytes / self.seconds(f"workload.{rate}")
        serving += self.seconds("workload.engine_init") if image.engine == "vllm" else 0
        begun = sum(self.seconds(f"workload.{phase}") for phase in ("scheduling", "container_start"))
        pulled = image.image_bytes / self.seconds("workload.pull_rate")
        return begun + pulled + max(serving, 30) + self.seconds("workload.probe_slack")

    def total(self, image: Image) -> float:
        return self.launch() + self.seconds("node.gpu_allocatable") + self.workload(image)

    def pool_deletion(self) -> float:
        return self.seconds("deletion.request") + observed_seconds(self.seconds("deletion.operation"), 30)


FALCON = profile.load("aks-gpu").image("kaito-falcon-7b-instruct")
DOWNLOADED = Image(
    image_bytes=5_600_000_000,
    weights_bytes=52_000_000_000,
    weights_from="download",
    engine="vllm",
    source="a base image that downloads its weights",
    mark="measured",
)

# p5, p50, p95, p99 of the published model of these distributions, 200 000 draws.
PUBLISHED: dict[str, tuple[Callable[[Model], float], tuple[float, float, float, float]]] = {
    "create operation": (lambda model: model.seconds("machine.operation"), (150, 248, 452, 1390)),
    "create call to launched": (Model.launch, (181, 272, 481, 1412)),
    "total, weights in the image": (lambda model: model.total(FALCON), (616, 917, 1605, 2224)),
    "total, weights downloaded": (lambda model: model.total(DOWNLOADED), (635, 782, 1059, 1927)),
    "pool deletion": (Model.pool_deletion, (31, 61, 241, 751)),
}


@pytest.mark.parametrize("output", PUBLISHED)
def test_aks_gpu_reproduces_the_published_quantiles(output: str) -> None:
    draw, expected = PUBLISHED[output]
    model = Model()

    drawn = sorted(draw(model) for _ in range(DRAWS))

    found = [drawn[int(DRAWS * p)] for p in (0.05, 0.5, 0.95)]
    assert found == pytest.approx(expected[:3], rel=0.06)
    assert drawn[int(DRAWS * 0.99)] == pytest.approx(expected[3], rel=0.08)


def test_usual_durations_are_those_recorded() -> None:
    """The pairs that the operator quotes as usual: Machine created to launched, workload created to ready."""
    model = Model()

    machine = sorted(model.seen_launch() for _ in range(DRAWS))
    workload = sorted(model.workload(FALCON) for _ in range(DRAWS))

    found = [drawn[int(DRAWS * p)] for drawn in (machine, workload) for p in (0.5, 0.95)]
    print("machine p50, p95, workload p50, p95:", [round(seconds) for seconds in found])
    assert found == pytest.approx([253, 449, 609, 1140], rel=0.03)
