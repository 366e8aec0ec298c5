from __future__ import annotations

from collections.abc import Iterator

import pytest

from kaito.history import finding
from kaito.problems import Problem
from store.memory import MemoryEventLog
from tests.kaito import lives


@pytest.fixture
def log() -> Iterator[MemoryEventLog]:
    """Two lives of default/falcon, the older one appended last; falcon and llama in another namespace."""
    with MemoryEventLog(lambda: lives.START) as log:
        add(log, "default", "falcon", "newer", 5000)
        add(log, "team", "falcon", "other", 0)
        add(log, "team", "llama-2-7b", "llama", 0)
        add(log, "default", "falcon", "older", 0)
        yield log


def add(log: MemoryEventLog, namespace: str, name: str, uid: str, seconds: float) -> None:
    event = lives.created(at=lives.at(seconds), namespace=namespace, name=name, uid=uid)
    lives.write(log, [event], f"workspace/{namespace}/{name}/{uid}")


def test_newest_life_is_found_by_its_time(log: MemoryEventLog) -> None:
    assert finding.find(log, "default/falcon").uid == "newer"


def test_uid_names_an_older_life(log: MemoryEventLog) -> None:
    assert finding.find(log, "falcon", "default", "older").uid == "older"


def test_namespace_option_and_prefix_agree(log: MemoryEventLog) -> None:
    assert finding.find(log, "falcon", "team") == finding.find(log, "team/falcon")


def test_name_alone_suffices_when_unique(log: MemoryEventLog) -> None:
    assert finding.find(log, "llama-2-7b").namespace == "team"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("falcon",), "several Workspaces are named falcon; expected one of default/falcon, team/falcon"),
        (("lama-2-7b",), "no Workspace lama-2-7b in the log; the nearest: llama-2-7b"),
        (("team/falcn",), "no Workspace team/falcn in the log; the nearest: team/falcon"),
        (("zzz",), "no Workspace zzz in the log; it holds falcon, llama-2-7b"),
        (("team/falcon", "default"), "the name says namespace team, the option says default"),
        (("team/falcon", "", "newer"), "team/falcon has no life with UID newer; expected one of other"),
    ],
)
def test_what_is_not_found_names_the_nearest(
    log: MemoryEventLog, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Problem, match=message):
        finding.find(log, *arguments)


def test_long_list_of_names_is_cut(log: MemoryEventLog) -> None:
    for index in range(5):
        add(log, "team", f"model-{index}", f"uid-{index}", 0)

    with pytest.raises(Problem, match="it holds falcon, llama-2-7b, model-0, model-1, model-2 and 2 more"):
        finding.find(log, "zzz")


def test_empty_log_holds_no_workspace() -> None:
    with pytest.raises(Problem, match="it holds none at all"):
        finding.find(MemoryEventLog(lambda: lives.START), "falcon")


def test_all_newest_lives_come_sorted(log: MemoryEventLog) -> None:
    found, unreadable = finding.find_all(log)

    labels = [(chronicle.label, chronicle.uid) for chronicle in found]
    assert labels == [("default/falcon", "newer"), ("team/falcon", "other"), ("team/llama-2-7b", "llama")]
    assert unreadable == []


def test_one_namespace_shows_its_own(log: MemoryEventLog) -> None:
    found, _ = finding.find_all(log, "team")

    assert {chronicle.namespace for chronicle in found} == {"team"}
