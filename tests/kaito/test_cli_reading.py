from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from kaito.cli import run
from kaito.clock import WallClock
from kaito.commands import output
from statemachine import events as ev
from store.opening import open_log
from store.records import StoredEvent
from tests.kaito import lives

Kaito = Callable[..., tuple[int, str, str]]


@pytest.fixture
def log(tmp_path: Path) -> str:
    """The URL of a log with a deleted Workspace, one of two slots, and a blocked one elsewhere."""
    url = f"sqlite:///{tmp_path}/kaito.db"
    add(url, lives.DELETED)
    add(url, renamed(lives.TWO_SLOTS, "llama", "default"), "workspace/default/llama/uid-2")
    blocked = (*lives.PROVISIONED[:3], lives.launch_failed(60, "QuotaExceeded", "Current Limit: 100", 660))
    add(url, renamed(blocked, "mistral", "team"), "workspace/team/mistral/uid-3")
    return url


def add(url: str, events: tuple[StoredEvent, ...], stream: str = lives.STREAM) -> None:
    with open_log(url, lambda: lives.START, create=True) as log:
        lives.write(log, events, stream)


def renamed(events: tuple[StoredEvent, ...], name: str, namespace: str) -> tuple[StoredEvent, ...]:
    first = events[0]
    assert isinstance(first, ev.WorkspaceCreated)
    return (lives.created(name=name, namespace=namespace, node_count=first.node_count), *events[1:])


@pytest.fixture
def kaito(log: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kaito:
    """Runs a command line against that log; returns exit code, standard output and standard error."""
    monkeypatch.setenv("KAITO_LOG_URL", log)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_list_shows_every_workspace_once(kaito: Kaito) -> None:
    code, out, _ = kaito("status")

    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        ("default", "falcon", "Gone"),
        ("default", "llama", "Live"),
        ("team", "mistral", "Live"),
    ]


def test_list_at_an_age_asks_each_at_its_own(kaito: Kaito) -> None:
    _, out, _ = kaito("status", "--at", "4m", "-o", "json")

    items = json.loads(out)["items"]
    statuses = [item["status"]["conditions"][0]["status"] for item in items]
    assert statuses == ["Unknown", "Unknown", "False"]


def test_list_of_a_namespace_leaves_others_out(kaito: Kaito) -> None:
    _, out, _ = kaito("status", "-n", "team")

    assert [line.split()[1] for line in out.splitlines()[1:]] == ["mistral"]


def test_list_of_nothing_says_so(kaito: Kaito) -> None:
    code, out, err = kaito("status", "-n", "nobody")

    assert (code, out, err) == (0, "", "no Workspace in namespace nobody in the log\n")


def test_status_prints_the_published_object(kaito: Kaito) -> None:
    _, out, _ = kaito("status", "falcon", "--at", "4m31s", "-o", "json")

    found = json.loads(out)
    assert found["apiVersion"] == "kaito.sh/v1alpha1"
    assert found["kind"] == "Workspace"
    assert found["metadata"] == {
        "creationTimestamp": "2024-04-05T18:30:00Z",
        "generation": 1,
        "name": "falcon",
        "namespace": "default",
        "uid": "uid-1",
    }
    assert found["resource"] == {"count": 1, "instanceType": "Standard_NC12s_v3"}
    assert found["inference"] == {"preset": {"name": "falcon-7b-instruct"}}
    assert found["status"]["workerNodes"] == [lives.NODE]
    assert found["status"]["conditions"][0] == {
        "lastTransitionTime": "2024-04-05T18:34:30Z",
        "message": "machines plugins have been installed successfully",
        "observedGeneration": 1,
        "reason": "installNodePluginsSuccess",
        "status": "True",
        "type": "MachineReady",
    }


def test_conditions_come_in_the_published_order(kaito: Kaito) -> None:
    _, out, _ = kaito("status", "falcon", "-o", "yaml")

    found = yaml.safe_load(out)
    types = [condition["type"] for condition in found["status"]["conditions"]]
    assert types == ["MachineReady", "ResourceReady", "InferenceReady", "WorkspaceReady", "WorkspaceDeleting"]
    assert found["metadata"]["deletionTimestamp"] == "2024-04-05T19:16:10Z"


def test_status_table_shows_conditions_and_slots(kaito: Kaito) -> None:
    _, out, _ = kaito("status", "team/mistral", "--at", "2m")

    assert ["mistral", "Standard_NC12s_v3", "False", "Unknown", "False", "2m"] in [
        line.split() for line in out.splitlines()
    ]
    assert "QuotaExceeded" in out
    assert "launch failed: QuotaExceeded: Current Limit: 100" in out


def test_events_show_position_time_and_type(kaito: Kaito) -> None:
    _, out, _ = kaito("events", "falcon", "--at", "1s")

    rows = out.splitlines()
    assert rows[0].split()[:4] == ["POSITION", "TIME", "AGE", "TYPE"]
    assert rows[1].split()[:4] == ["1", "2024-04-05T18:30:00.000000Z", "+0s", "WorkspaceCreated"]
    assert "1 node of Standard_NC12s_v3, to serve preset falcon-7b-instruct" in rows[1]
    assert [row.split()[3] for row in rows[1:]] == ["WorkspaceCreated", "MachineRequested", "MachineCreated"]


def test_events_as_json_hold_every_field(kaito: Kaito) -> None:
    _, out, _ = kaito("events", "falcon", "-o", "json")

    first = json.loads(out)[0]
    assert first["stream"] == lives.STREAM
    assert first["cause"] == "test/0"
    assert first["data"]["limits"]["machine_timeout"] == 900.0


def test_why_answers_in_json_too(kaito: Kaito) -> None:
    _, out, _ = kaito("why", "mistral", "--at", "2m", "-o", "json")

    story = json.loads(out)
    assert story["waits"][0]["elapsed_seconds"] == 119.0
    assert [link["position"] for link in story["chain"]]


def test_timeline_json_adds_up(kaito: Kaito) -> None:
    _, out, _ = kaito("timeline", "falcon", "-o", "json")

    found = json.loads(out)
    assert sum(phase["seconds"] for phase in found["phases"]) == found["total_seconds"] == 2835.0
    assert found["open"] is False


def test_time_of_an_event_can_be_asked_back(kaito: Kaito) -> None:
    _, events, _ = kaito("events", "mistral", "-o", "json")
    for event in json.loads(events):
        _, out, _ = kaito("status", "mistral", "--at", event["data"]["at"])

        assert f"Log:        version {event['version']} of the stream" in out or event["version"] == 2


def test_now_is_the_wall_clock_while_writing(log: str, kaito: Kaito) -> None:
    start = WallClock().now() - timedelta(minutes=3, seconds=2)
    event = lives.created(at=start, name="fresh", uid="uid-9")
    add(log, (event,), "workspace/default/fresh/uid-9")

    _, out, _ = kaito("why", "fresh")

    assert "3m2s after its creation" in out or "3m3s after its creation" in out


def test_poisoned_stream_leaves_the_others_readable(log: str, kaito: Kaito) -> None:
    add(log, (lives.created(name="poison"), lives.launched(5)), "workspace/default/poison/uid-4")

    code, out, err = kaito("status")

    assert code == 0
    assert "mistral" in out
    assert "poison" not in out
    assert err.startswith("workspace/default/poison/uid-4 cannot be folded: MachineLaunched")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["why", "falco"], "no Workspace falco in the log; the nearest: falcon"),
        (["status", "falcon", "--at", "noon"], "--at: expected 2024-04-05T18:34:10Z"),
        (["status", "falcon", "--at", "18:29:00"], "did not exist yet at 2024-04-05T18:29:00Z"),
        (["events", "falcon", "--log", "sqlite:///absent/kaito.db"], "no log at absent/kaito.db"),
        (["events"], "Missing argument 'NAME'"),
        (["timeline", "falcon", "--plot", "f.gif"], "f.gif: expected a file that ends in .png or .svg"),
        (["timeline", "falcon", "--plot", "absent/f.png"], "absent/f.png: cannot be written: No such file"),
        (["status", "falcon", "-o", "xml"], "'xml' is not one of 'table', 'json', 'yaml'"),
        (["nonsense"], "there is no verb 'nonsense'; expected one of "),
    ],
)
def test_mistakes_are_one_line_and_exit_two(kaito: Kaito, arguments: list[str], part: str) -> None:
    code, out, err = kaito(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert part in err
    assert err.count("\n") == 1


def test_verbose_shows_the_trace_of_a_mistake(kaito: Kaito) -> None:
    _, _, err = kaito("-v", "why", "falco")

    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: no Workspace falco")


def test_defect_keeps_its_trace(kaito: Kaito, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(output, "table", broken)

    with pytest.raises(RuntimeError, match="a defect"):
        kaito("status")


def test_terminal_gets_the_same_cells(kaito: Kaito, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, plain, _ = kaito("status")
    monkeypatch.setattr(output, "is_terminal", lambda: True)

    _, drawn, _ = kaito("status")

    assert [line.split() for line in drawn.splitlines()] == [line.split() for line in plain.splitlines()]


def test_reader_that_goes_away_is_no_error(log: str) -> None:
    program = f"import sys; from kaito.cli import run; sys.exit(run(['events', 'falcon', '--log', {log!r}]))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (141, b"")
