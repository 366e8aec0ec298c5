"""Every event of the log is told with a reason of the closed set, or silent on purpose."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from kaito.runtime.ports import MACHINES, WORKSPACES
from kaito.telemetry.notices import (
    MOST_MESSAGE,
    MOST_NAME,
    About,
    Notice,
    about_machine,
    about_workspace,
    body,
)
from kaito.telemetry.reasons import NORMAL, RULES, WARNING, Reason, Rule, reason_of, rule_of
from statemachine.machine import events as mev
from statemachine.state import BlockedReason, InferenceReason
from tests.kaito import lives
from tests.store.samples import ALL_TYPES, sample

DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
WORKSPACE = About(WORKSPACES, "falcon", "default", "uid-1")


def a_notice(event: Any, **changes: Any) -> Notice:
    rule = rule_of(event) or Rule(NORMAL, Reason.SPEC_CHANGED)
    fields = {"about": WORKSPACE, "stream": lives.STREAM, "version": 3, "event": event, "rule": rule}
    return Notice(**{**fields, **changes})


@pytest.mark.parametrize("type_", ALL_TYPES, ids=lambda type_: type_.__name__)
def test_every_event_has_its_place(type_: type[Any]) -> None:
    rule = RULES[type_]

    if rule is None:
        return
    notice = a_notice(sample(type_))
    assert rule.type in (NORMAL, WARNING)
    assert notice.reason in set(Reason)
    assert re.fullmatch(r"[A-Z][A-Za-z]+", notice.reason)
    assert 0 < len(notice.message) <= MOST_MESSAGE
    assert notice.message[0].isupper()
    assert not notice.message.startswith("Provisioner")


def test_table_names_no_other_event() -> None:
    assert set(RULES) == set(ALL_TYPES)


def test_own_reasons_are_asked_of_events_that_have_one() -> None:
    own = {type_ for type_, rule in RULES.items() if rule is not None and rule.own_reason}

    assert own
    assert all("reason" in {field.name for field in msgspec.structs.fields(type_)} for type_ in own)


def test_every_reason_is_told_by_some_event() -> None:
    own = {reason.value for reason in (*BlockedReason, *InferenceReason)}
    told = {rule.reason.value for rule in RULES.values() if rule is not None}

    assert {reason.value for reason in Reason} == own | told


@pytest.mark.parametrize(
    ("written", "told"), [("QuotaExceeded", "QuotaExceeded"), ("anything else", "LaunchFailed")]
)
def test_own_reason_stays_in_the_closed_set(written: str, told: str) -> None:
    event = lives.launch_failed(60, written, "limit 100, used 56, needed 64", 660)
    rule = rule_of(event)

    assert rule is not None
    assert (rule.type, reason_of(rule, event).value) == (WARNING, told)


# --- the Kubernetes object --------------------------------------------------------------------------


def test_event_is_about_its_workspace() -> None:
    event = lives.launch_failed(60.7, "QuotaExceeded", "limit 100, used 56, needed 64", None)

    found = body(a_notice(event), "kaito-workspace", "host_1")

    name = found["metadata"]["name"]
    assert found == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "name": "falcon",
            "namespace": "default",
            "uid": "uid-1",
        },
        "type": "Warning",
        "reason": "QuotaExceeded",
        "message": "Slot 0: launch of Machine wsaaa failed, QuotaExceeded: limit 100, used 56, needed 64",
        "count": 1,
        "firstTimestamp": "2024-04-05T18:31:00Z",
        "lastTimestamp": "2024-04-05T18:31:00Z",
        "source": {"component": "kaito-workspace"},
        "reportingComponent": "kaito-workspace",
        "reportingInstance": "host_1",
    }


def test_machine_event_is_kept_in_default() -> None:
    about = about_machine(lambda stream: "uid-m")("machine/ws1", lives.PROVISIONER[1])

    assert about is not None
    assert about.home == "default"
    assert about.reference() == {
        "apiVersion": "karpenter.sh/v1alpha5",
        "kind": "Machine",
        "name": "ws1",
        "uid": "uid-m",
    }


def test_machine_tells_its_uid_when_it_begins() -> None:
    event = mev.MachineAccepted(
        at=lives.START, machine="ws1", uid="uid-new", generation=1, vm_size="size", os_disk_gb=0
    )

    about = about_machine(lambda stream: "uid-of-the-life-before")
    before = about("machine/ws1", lives.PROVISIONER[1])
    begun = about("machine/ws1", event)
    then = about("machine/ws1", lives.PROVISIONER[1])

    assert before == About(MACHINES, "ws1", "", "uid-of-the-life-before")
    assert begun == then == About(MACHINES, "ws1", "", "uid-new")


def test_other_streams_are_nobodys() -> None:
    assert about_workspace("machine/ws1", lives.requested()) is None
    assert about_workspace("workspace/half", lives.requested()) is None
    assert about_machine(lambda stream: "")(lives.STREAM, lives.requested()) is None


@pytest.mark.parametrize("name", ["falcon", "a" * 253, "a" * 235 + "-.-.b" * 3, "x.y-z"])
def test_name_follows_from_the_place_in_the_log(name: str) -> None:
    about = About(WORKSPACES, name, "default", "uid-1")
    first, again = (a_notice(lives.requested(), about=about).name for _ in range(2))
    later = a_notice(lives.requested(), about=about, version=4).name
    other = a_notice(lives.requested(), about=about, stream="workspace/default/falcon/uid-2").name

    assert first == again
    assert len({first, later, other}) == 3
    assert len(first) <= MOST_NAME
    assert DNS_1123.fullmatch(first)


def test_long_message_is_cut() -> None:
    event = lives.launch_failed(60, "QuotaExceeded", "why\nso " * 500, None)

    message = a_notice(event).message

    assert len(message) == MOST_MESSAGE
    assert message.endswith("…")
    assert "\n" not in message
