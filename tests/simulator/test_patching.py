"""The two patch formats, by the tables of their RFCs and by properties."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.ports import ApiError, BadRequest, Invalid
from simulator.patching import json_patch, merge_patch
from simulator.refusals import RequestTooLarge

scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=2)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.text("ab/~", max_size=2), documents, max_size=3)


def without_nulls(value: Any, listed: bool = False) -> Any:
    """As the patches of real clients: a null in a list, or below one, is no deletion of anything."""
    if isinstance(value, list):
        return [without_nulls(each, True) for each in value if each is not None]
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(each, listed) for key, each in value.items() if each is not None or not listed}


# The test cases of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_follows_its_rfc(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(target, patch) == expected


# Beyond the RFC: the library of the real server drops nulls from what is new, but not from an array that
# takes the place of an object.
@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({}, {"a": [1, None, {"b": None}]}, {"a": [1, {}]}),
        ({"a": [2]}, {"a": [1, None, {"b": None}]}, {"a": [1, {}]}),
        ({"a": {}}, {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_merge_patch_drops_nulls_of_new_values(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(target, patch) == expected


@given(target=objects, patch=objects.map(without_nulls))
def test_merge_patch_twice_is_once(target: Any, patch: Any) -> None:
    before = copy.deepcopy(target)

    once = merge_patch(target, patch)

    assert merge_patch(once, patch) == once
    assert target == before


def test_merge_patch_shares_what_stays() -> None:
    target = {"metadata": {"labels": {}}, "spec": {"big": [1]}}

    merged = merge_patch(target, {"metadata": {"labels": {"a": "b"}}})

    assert merged["spec"] is target["spec"]


DOCUMENT: dict[str, Any] = {"a": {"b": [1, 2, 3]}, "c/d": {"e~f": 0}, "n": None}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/x", "value": 1}, {**DOCUMENT, "x": 1}),
        ({"op": "add", "path": "/a", "value": 1}, {**DOCUMENT, "a": 1}),
        ({"op": "add", "path": "/x"}, {**DOCUMENT, "x": None}),
        ({"op": "add", "path": "/a/b/1", "value": 9}, {**DOCUMENT, "a": {"b": [1, 9, 2, 3]}}),
        ({"op": "add", "path": "/a/b/3", "value": 9}, {**DOCUMENT, "a": {"b": [1, 2, 3, 9]}}),
        ({"op": "add", "path": "/a/b/-", "value": 9}, {**DOCUMENT, "a": {"b": [1, 2, 3, 9]}}),
        ({"op": "add", "path": "/c~1d/g", "value": 1}, {**DOCUMENT, "c/d": {"e~f": 0, "g": 1}}),
        ({"op": "replace", "path": "/c~1d/e~0f", "value": 1}, {**DOCUMENT, "c/d": {"e~f": 1}}),
        ({"op": "replace", "path": "/a/b/0", "value": None}, {**DOCUMENT, "a": {"b": [None, 2, 3]}}),
        ({"op": "replace", "path": "/n", "value": 1}, {**DOCUMENT, "n": 1}),
        ({"op": "replace", "path": "/missing", "value": 1}, {**DOCUMENT, "missing": 1}),
        ({"op": "remove", "path": "/a/b/0"}, {**DOCUMENT, "a": {"b": [2, 3]}}),
        ({"op": "remove", "path": "/c~1d"}, {"a": DOCUMENT["a"], "n": None}),
        ({"op": "test", "path": "/a/b", "value": [1, 2, 3]}, DOCUMENT),
        ({"op": "test", "path": "/n", "value": None}, DOCUMENT),
        ({"op": "test", "path": "/missing", "value": None}, DOCUMENT),
        ({"op": "copy", "from": "/a/b/2", "path": "/x"}, {**DOCUMENT, "x": 3}),
        ({"op": "copy", "from": "/c~1d/x", "path": "/y"}, {**DOCUMENT, "y": None}),
        ({"op": "move", "from": "/a/b/0", "path": "/a/b/2"}, {**DOCUMENT, "a": {"b": [2, 3, 1]}}),
        ({"op": "move", "from": "/a", "path": "/a"}, DOCUMENT),
    ],
)
def test_json_patch_follows_its_rfc(operation: Any, expected: Any) -> None:
    before = copy.deepcopy(DOCUMENT)

    patched = json_patch(DOCUMENT, [operation])

    assert patched == expected
    assert before == DOCUMENT


@pytest.mark.parametrize(
    ("operation", "error", "complaint"),
    [
        ({"op": "test", "path": "/a/b/0", "value": 2}, Invalid, "testing path /a/b/0 failed"),
        ({"op": "test", "path": "/a/b/0", "value": True}, Invalid, "testing path /a/b/0 failed"),
        ({"op": "test", "path": "/missing", "value": 1}, Invalid, "testing path /missing failed"),
        ({"op": "remove", "path": "/missing"}, Invalid, "path /missing does not exist"),
        ({"op": "replace", "path": "/missing/m", "value": 1}, Invalid, "path /missing/m does not exist"),
        ({"op": "add", "path": "/missing/x", "value": 1}, Invalid, "path /missing/x does not exist"),
        ({"op": "add", "path": "/n/x", "value": 1}, Invalid, "path /n/x does not exist"),
        ({"op": "add", "path": "/a/b/4", "value": 1}, Invalid, "path /a/b/4 does not exist"),
        ({"op": "remove", "path": "/a/b/3"}, Invalid, "path /a/b/3 does not exist"),
        ({"op": "remove", "path": "/a/b/-"}, Invalid, "expected an array index, found '-'"),
        ({"op": "remove", "path": "/a/b/01"}, Invalid, "expected an array index, found '01'"),
        ({"op": "remove", "path": "/a/b/-1"}, Invalid, "expected an array index, found '-1'"),
        ({"op": "remove", "path": ""}, Invalid, "whole document"),
        ({"op": "copy", "from": "/x/y", "path": "/y"}, Invalid, "path /x does not exist"),
        ({"op": "move", "from": "/a", "path": "/a/b/0"}, Invalid, "moving /a into itself"),
        ({"op": "replace", "path": "", "value": 3}, Invalid, "whole document"),
        ({"op": "add", "path": "x", "value": 1}, Invalid, "expected a JSON pointer, found 'x'"),
        ({"op": "copy", "path": "/x"}, Invalid, "from: expected a JSON pointer, found None"),
        ({"op": "zap", "path": "/x"}, Invalid, "unknown op 'zap'"),
        ("add", BadRequest, "cannot unmarshal string into"),
    ],
)
def test_malformed_json_patch_is_refused(operation: Any, error: type[ApiError], complaint: str) -> None:
    with pytest.raises(error) as refusal:
        json_patch(DOCUMENT, [operation])

    # The real server's own message says nothing; the causes of its Status do.
    assert complaint in " ".join([refusal.value.message, *refusal.value.causes])


def test_long_json_patch_is_too_large() -> None:
    test = {"op": "test", "path": "/n", "value": None}

    assert json_patch(DOCUMENT, [test] * 10_000) == DOCUMENT
    with pytest.raises(RequestTooLarge, match="10000, got 10001"):
        json_patch(DOCUMENT, [test] * 10_001)


@given(target=objects, key=st.text("ab/~", max_size=2), value=documents)
def test_added_field_passes_its_test(target: dict[str, Any], key: str, value: Any) -> None:
    before = copy.deepcopy(target)
    path = "/" + key.replace("~", "~0").replace("/", "~1")

    patched = json_patch(
        target, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )

    assert patched == {**target, key: value}
    assert json_patch(patched, [{"op": "remove", "path": path}]) == {
        k: v for k, v in target.items() if k != key
    }
    assert target == before
