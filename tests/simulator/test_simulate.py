"""`kaito simulate` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaito import cli
from kaito.clock import WallClock
from store.opening import open_log

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "falcon-7b-instruct.yaml"
REFERENCE = ("--profile", "reference-run")


def _simulate(*arguments: str, log: str = "memory:") -> int:
    return cli.run(["simulate", str(EXAMPLE), "--log", log, *arguments])


def test_rows_are_those_of_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*REFERENCE) == 0

    rows = [line.split() for line in capsys.readouterr().out.partition("\n\n")[0].splitlines()]
    assert rows[0] == ["NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY", "AGE"]
    assert rows[1] == ["workspace-falcon-7b-instruct", "Standard_NC12s_v3", "0s"]
    assert rows[-1][2:] == ["True", "True", "True", "16m"]


def test_json_summary_tells_every_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*REFERENCE, "-o", "json", "--set", "operator.machine_timeout=4m") == 0

    summary = json.loads(capsys.readouterr().out)
    changes = summary["workspaces"][0]["conditions"]
    machine = [(c["status"], c["reason"]) for c in changes if c["type"] == "MachineReady"]
    assert machine == [
        ("Unknown", "CreateMachinePending"),
        ("False", "checkMachineStatusFailed"),
        ("True", "installNodePluginsSuccess"),
    ]
    assert summary["settled"] is True


def test_deletion_is_told_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*REFERENCE, "--delete-after", "46m10s") == 0

    assert "47m14s  gone" in capsys.readouterr().out


def test_run_that_never_settles_says_no(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*REFERENCE, "--horizon", "5m") == 1

    assert "not settled" in capsys.readouterr().out


def test_second_run_in_one_log_is_another_life(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path}/log.db"
    assert _simulate(*REFERENCE, log=log) == 0

    assert _simulate(*REFERENCE, log=log) == 0

    assert cli.run(["log", "verify", "--log", log]) == 0


def test_other_workspace_in_one_log_shares_no_machine(tmp_path: Path) -> None:
    log, other = f"sqlite:///{tmp_path}/log.db", tmp_path / "other.yaml"
    other.write_text(MANIFEST.replace("name: workspace-falcon-7b-instruct", "name: another"))
    assert _simulate(*REFERENCE, log=log) == 0

    assert cli.run(["simulate", str(other), "--log", log, *REFERENCE]) == 0

    with open_log(log, WallClock().now, create=False) as opened:
        machines = [head.stream for head in opened.streams("machine/")]
    assert len(machines) == 2


def test_plot_is_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "timeline.png"

    assert _simulate(*REFERENCE, "--plot", str(picture)) == 0

    assert picture.read_bytes().startswith(b"\x89PNG")


def _exported(tmp_path: Path, name: str, hash_seed: str, *arguments: str) -> bytes:
    """The exported log of a run in a process of its own."""
    log = f"sqlite:///{tmp_path}/{name}.db"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "kaito"]
    simulate = [*command, "simulate", str(EXAMPLE), "--log", log, *arguments]
    subprocess.run(simulate, env=environment, check=True, capture_output=True)
    export = [*command, "log", "export", "--log", log]
    return subprocess.run(export, env=environment, check=True, capture_output=True).stdout


@pytest.mark.parametrize("profile", ["reference-run", "aks-gpu"])
def test_same_seed_exports_the_same_bytes(tmp_path: Path, profile: str) -> None:
    first = _exported(tmp_path, "first", "1", "--profile", profile)
    second = _exported(tmp_path, "second", "2", "--profile", profile)

    assert first == second
    assert first.count(b"\n") > 10


def test_other_seed_exports_other_bytes(tmp_path: Path) -> None:
    first = _exported(tmp_path, "first", "1", "--seed", "1")
    second = _exported(tmp_path, "second", "1", "--seed", "2")

    assert first != second


MANIFEST = EXAMPLE.read_text()
BAD_INPUT = {
    "syntax": ("metadata: {name: x\n", "syntax error"),
    "other kind": ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "expected Workspace, found Pod"),
    "unknown field": (MANIFEST.replace("instanceType", "instanceTyp"), "nearest is instanceType"),
    "wrong type": (MANIFEST.replace('"Standard_NC12s_v3"', "[1]"), "expected a string, found a list"),
    "unknown preset": (
        MANIFEST.replace('name: "falcon-7b-instruct"', "name: falcon"),
        "Unsupported inference preset name falcon",
    ),
    "empty": ("", "found an empty file"),
    "twice": (f"{MANIFEST}\n---\n{MANIFEST}", "expected one default/workspace-falcon-7b-instruct"),
}


@pytest.mark.parametrize("case", sorted(BAD_INPUT))
def test_bad_manifest_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, expected = BAD_INPUT[case]
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    log = tmp_path / "log.db"

    code = cli.run(["simulate", str(file), "--log", f"sqlite:///{log}"])

    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert str(file) in captured.err
    assert not log.exists()


def test_every_fault_is_told_on_its_own_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(MANIFEST.replace("instanceType", "instanceTyp").replace("matchLabels", "labels"))

    code = cli.run(["simulate", str(file), "nowhere.yaml", "--log", "memory:"])

    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)


BAD_ARGUMENTS = {
    "missing file": (["nowhere.yaml"], "no such file"),
    "profile": ([str(EXAMPLE), "--profile", "azure"], "expected aks-gpu or reference-run"),
    "azure": ([str(EXAMPLE), "--azure", "gcp"], "expected aks or calm"),
    "setting": ([str(EXAMPLE), "--set", "operator.timeout=4m"], "operator.machine_timeout"),
    "setting path": ([str(EXAMPLE), "--set", "machine=4m"], "starts with operator. or profile."),
    "setting value": ([str(EXAMPLE), "--set", "operator.machine_timeout=soon"], "found soon"),
    "setting zero": ([str(EXAMPLE), "--set", "operator.machine_timeout=0s"], "above 0"),
    "profile path": ([str(EXAMPLE), "--set", "profile.machine.nothing=4m"], "machine.nothing"),
    "no value": ([str(EXAMPLE), "--set", "operator.machine_timeout"], "expected PATH=VALUE"),
    "duration": ([str(EXAMPLE), "--delete-after", "soon"], "expected a duration"),
    "output": ([str(EXAMPLE), "-o", "xml"], "expected table, wide, json"),
    "log": ([str(EXAMPLE), "--log", "foo://bar"], "foo is not supported"),
}


@pytest.mark.parametrize("case", sorted(BAD_ARGUMENTS))
def test_bad_argument_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = BAD_ARGUMENTS[case]

    code = cli.run(["simulate", "--log", "memory:", *arguments])

    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert expected in captured.err


def test_profile_number_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate(*REFERENCE, "--set", "profile.machine.operation=0s", "-o", "json") == 0

    summary = json.loads(capsys.readouterr().out)
    ready = [c for c in summary["workspaces"][0]["conditions"] if c["type"] == "MachineReady"][-1]
    assert ready["after_seconds"] < 60


def test_timeline_shows_what_the_provider_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario, log = tmp_path / "azure.yaml", f"sqlite:///{tmp_path}/log.db"
    fault = "{kind: fail, code: AllocationFailed, message: no capacity}"
    scenario.write_text(f"name: once\nsummary: once\nscript:\n  - {{verb: put, fault: {fault}}}\n")
    assert _simulate(*REFERENCE, "--azure", str(scenario), "--horizon", "6h", log=log) == 0
    capsys.readouterr()

    assert cli.run(["timeline", "workspace-falcon-7b-instruct", "--log", log, "-o", "json"]) == 0

    (launching, *_) = json.loads(capsys.readouterr().out)["phases"]
    steps = [step["name"] for step in launching["steps"]]
    assert "machine: pool creation" in steps
    assert "blocked: InsufficientCapacity" in steps
