"""Values and texts in messages: one line, and never longer than a reader wants."""

from __future__ import annotations

from typing import Any

import pytest

from kaito.api.errors import Finding, describe, one_line, printable

DESCRIBED: list[Any] = [
    (None, "nothing"),
    (True, "true"),
    (False, "false"),
    (3, "3"),
    (2**256 - 1, str(2**256 - 1)),
    (2**256, "a number of 78 digits or more"),
    pytest.param(10**5000, "a number of 78 digits or more", id="10**5000"),
    (1.5, "1.5"),
    ("two", '"two"'),
    ("a\nb", '"a\\nb"'),
    ({"a": 1}, "a mapping"),
    ([1], "a list"),
    ((1,), "a list"),
]


@pytest.mark.parametrize(("value", "text"), DESCRIBED)
def test_values_are_told_by_kind_or_content(value: Any, text: str) -> None:
    assert describe(value) == text


def test_only_long_texts_lose_their_middle() -> None:
    long = "a" * 60 + "b" * 21

    assert printable("x" * 80) == "x" * 80
    assert printable(long) == "a" * 50 + "…" + "b" * 20


def test_what_terminals_do_not_show_is_escaped() -> None:
    assert one_line("ä b") == "ä b"
    assert one_line("\x1b[31m\n\u202e") == "\\x1b[31m\\n\\u202e"


def test_findings_read_as_sentences() -> None:
    assert str(Finding("a.b", "a string", "3")) == "a.b: expected a string, found 3"
    assert str(Finding("", "a mapping", "a list")) == "expected a mapping, found a list"
