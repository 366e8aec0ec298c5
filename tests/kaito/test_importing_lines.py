"""Each format by itself: what a line says, and what makes it malformed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.importing import jsonlines, klog, kubectl, zap
from kaito.importing.entries import Malformed, parse_time
from kaito.importing.evidence import Kind
from kaito.importing.machines import machine_of_node, node_of_provider_id
from kaito.importing.vocabulary import UNDERSTOOD, understand

KLOG = 'I0405 18:29:58.945820       1 workspace_controller.go:203] "need to create more nodes" NodeCount=1'
PROVIDER_ID = (
    "azure:///subscriptions/0/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/"
    "aks-wsb42f9cb5f-41071934-vmss/virtualMachines/"
)


def test_klog_line_gives_time_and_fields() -> None:
    entry = klog.parse(KLOG)

    assert entry.at == datetime(2000, 4, 5, 18, 29, 58, 945820, tzinfo=UTC)
    assert (entry.message, entry.origin, entry.dated) == (
        "need to create more nodes",
        "workspace_controller.go",
        False,
    )
    assert entry.fields == {"NodeCount": "1"}


def test_klog_error_line_keeps_quoted_error() -> None:
    text = 'E0405 18:29:58.945820       1 machine.go:109] "failed" err="a \\"b\\"\\n\\x41\\u00e9" machine="m"'

    entry = klog.parse(text)

    assert entry.severe
    assert entry.fields == {"err": 'a "b"\nA\u00e9', "machine": "m"}


def test_klog_value_spans_several_lines() -> None:
    text = 'E0405 18:29:58.945820       1 a.go:1] "failed" err=<\n\tfirst\n\tsecond\n > machine="m"'

    entry = klog.parse(text)

    assert entry.fields == {"err": "first\nsecond", "machine": "m"}


def test_klog_plain_text_has_no_fields() -> None:
    entry = klog.parse('W0405 18:29:58.945820       1 reflector.go:533] failed to list "x: no')

    assert entry.message == 'failed to list "x: no'
    assert entry.fields == {}


@pytest.mark.parametrize(
    "text",
    [
        "I0405 18:29:58.94",
        'I0405 18:29:58.945820       1 a.go:1] "Reconcil',
        'I0405 18:29:58.945820       1 a.go:1] "Reconciling" workspace="default/fal',
        'I1305 18:29:58.945820       1 a.go:1] "month thirteen"',
        'I0230 18:29:58.945820       1 a.go:1] "30 February"',
        'I0405 25:29:58.945820       1 a.go:1] "hour 25"',
    ],
)
def test_malformed_klog_line_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        klog.parse(text)


CLOSED = KLOG.index(" NodeCount")
"""Cut here, after a closed quote, the line is a whole one."""


@pytest.mark.parametrize("length", [n for n in range(8, len(KLOG) + 1) if n != CLOSED])
def test_cut_klog_line_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        klog.parse(KLOG[:length], whole=False)


@pytest.mark.parametrize("gap", ["\t", "    "])
def test_zap_console_line_splits_at_gaps(gap: str) -> None:
    text = gap.join(("2024-04-05T18:15:15Z", "ERROR", "controller-runtime.metrics", 'Failed {"a": {"b": 1}}'))

    entry = zap.parse(text)

    assert (entry.at, entry.origin, entry.message) == (
        datetime(2024, 4, 5, 18, 15, 15, tzinfo=UTC),
        "controller-runtime.metrics",
        "Failed",
    )
    assert entry.fields == {"a": {"b": 1}}
    assert (entry.severe, entry.exact) == (True, False)


def test_go_log_line_is_read() -> None:
    entry = zap.parse("2024/04/05 18:15:15 Registering 1 clients")

    assert (entry.at, entry.message) == (
        datetime(2024, 4, 5, 18, 15, 15, tzinfo=UTC),
        "Registering 1 clients",
    )


@pytest.mark.parametrize(
    "text",
    [
        "2024-04-05T18:34:00Z    ERR",
        '2024-04-05T18:34:00Z    ERROR   Reconciler error        {"controller": "workspace", "contr',
        "2024-04-05T18:61:00Z    ERROR   Reconciler error",
        "2024/04/05 18:15",
        "2024/04/31 18:15:15 no such day",
    ],
)
def test_malformed_zap_line_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        zap.parse(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('{"severity":"INFO","timestamp":"2024-04-05T18:15:15.410660846Z","message":"m"}', "18:15:15.410660"),
        ('{"level":"INFO","time":"2024-04-05T20:15:15.410+02:00","message":"m"}', "18:15:15.410000"),
        ('{"level":"info","ts":1712340915.5412657,"msg":"m"}', "18:15:15.541266"),
    ],
)
def test_json_line_gives_utc_time(text: str, at: str) -> None:
    entry = jsonlines.parse(text)

    assert entry is not None
    assert entry.at == datetime.fromisoformat(f"2024-04-05T{at}+00:00")
    assert entry.message == "m"


@pytest.mark.parametrize(
    "text",
    ['{"message":"m"}', '{"time":"2024-04-05T18:15:15Z"}', '{"time":"2024-04-05T18:15:15Z","message":1}'],
)
def test_json_without_time_or_message_is_no_line(text: str) -> None:
    assert jsonlines.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"severity":"INFO","mess',
        '{"time":"2024-04-05T18:15:15","message":"no offset"}',
        '{"time":"yesterday","message":"m"}',
        '{"ts":1e300,"msg":"m"}',
        '{"ts":true,"msg":"m"}',
        "{" * 2000,
        '{"a":' * 5000,
    ],
)
def test_malformed_json_line_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        jsonlines.parse(text)


@pytest.mark.parametrize(
    ("text", "lower", "precision"),
    [
        ("51s", 51, 1),
        ("119s", 119, 1),
        ("4m", 240, 1),
        ("4m2s", 242, 1),
        ("9m59s", 599, 1),
        ("16m", 960, 60),
        ("3h", 10800, 60),
        ("3h5m", 11100, 60),
        ("8h", 28800, 3600),
        ("2d3h", 183600, 3600),
        ("9d", 777600, 86400),
        ("2y10d", 740 * 86400, 86400),
    ],
)
def test_age_has_the_precision_it_shows(text: str, lower: int, precision: int) -> None:
    age = kubectl.parse_age(text)

    assert (age.lower, age.precision) == (timedelta(seconds=lower), timedelta(seconds=precision))


@pytest.mark.parametrize("text", ["", "4", "m", "<invalid>", "4m2", "2s4m", "9" * 30 + "s", "\u0664m"])
def test_strange_age_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        kubectl.parse_age(text)


def test_wide_cell_shifts_the_cells_after_it() -> None:
    columns = kubectl.parse_header("NAME          TYPE   ZONE   NODE   READY   AGE")
    assert columns is not None

    row = kubectl.parse_row(
        columns, "wsb42f9cb5f" + " " * 17 + "aks-wsb42f9cb5f-41071934-vmss000000   True    4m18s"
    )

    assert row == {
        "NAME": "wsb42f9cb5f",
        "TYPE": "",
        "ZONE": "",
        "NODE": "aks-wsb42f9cb5f-41071934-vmss000000",
        "READY": "True",
        "AGE": "4m18s",
    }


def test_row_out_of_column_is_refused() -> None:
    columns = kubectl.parse_header("NAME          TYPE   ZONE   NODE   READY   AGE")
    assert columns is not None

    with pytest.raises(Malformed):
        kubectl.parse_row(columns, "wsb42f9cb5f True 4m18s")


@pytest.mark.parametrize("header", ["NAME   READY   STATUS   AGE", "NAMES", "NAME   NODE   READY"])
def test_other_tables_are_not_recognised(header: str) -> None:
    assert kubectl.parse_header(header) is None


@pytest.mark.parametrize(
    ("message", "fields", "kind"),
    [
        ("Reconciling", {"workspace": "default/w"}, Kind.RECONCILING),
        ("CreateMachine", {"machine": "default/ws1"}, Kind.MACHINE_CREATION),
        ("Validate update", {"workspace": "default/w"}, Kind.UNDERSTOOD),
    ],
)
def test_known_message_has_its_meaning(message: str, fields: dict[str, str], kind: Kind) -> None:
    entry = jsonlines.Entry(datetime(2024, 4, 5, tzinfo=UTC), message, fields=fields)

    meaning = understand(entry)

    assert meaning is not None
    assert meaning.kind is kind


@pytest.mark.parametrize("workspace", [None, "", "default", "default/", "a/b/c", "Default/W", "../x", 7])
def test_message_without_proper_name_means_nothing(workspace: object) -> None:
    entry = jsonlines.Entry(datetime(2024, 4, 5, tzinfo=UTC), "Reconciling", fields={"workspace": workspace})

    assert understand(entry) is None


def test_plumbing_is_understood_unless_severe() -> None:
    at = datetime(2024, 4, 5, tzinfo=UTC)

    assert understand(jsonlines.Entry(at, "anything", "webhook.Certificates")) is UNDERSTOOD
    assert understand(jsonlines.Entry(at, "anything", "webhook.Certificates", severe=True)) is None


@pytest.mark.parametrize(("instance", "suffix"), [("0", "000000"), ("35", "00000z"), ("36", "000010")])
def test_provider_id_names_the_node(instance: str, suffix: str) -> None:
    machine, node = node_of_provider_id(PROVIDER_ID + instance)

    assert (machine, node) == ("wsb42f9cb5f", f"aks-wsb42f9cb5f-41071934-vmss{suffix}")
    assert machine_of_node(node) == "wsb42f9cb5f"


@given(st.text())
def test_parsers_raise_nothing_but_malformed(text: str) -> None:
    starts = (
        "",
        "I0405 18:29:58.945820       1 a.go:1] ",
        "2024-04-05T18:34:00Z  INFO  ",
        "2024/04/05 ",
        '{"ts":',
    )
    for line in (start + text for start in starts):
        for parser in (klog, zap, jsonlines):
            if parser.looks_like(line):
                try:
                    entry = parser.parse(line)
                except Malformed:
                    continue
                if entry is not None:
                    understand(entry)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_any_value_is_a_time_or_malformed(value: object) -> None:
    try:
        at = parse_time(value)
    except Malformed:
        return

    assert at.utcoffset() == timedelta(0)
