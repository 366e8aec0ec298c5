"""The selector language: what matches, what cannot be parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.ports import NODES, PODS, WORKSPACES, BadRequest, Object, Resource
from simulator.kinds import KINDS, Kind
from simulator.selectors import selection

label_maps = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y", "3"]))


def kind_of(resource: Resource) -> Kind:
    return next(kind for kind in KINDS if kind.resource == resource)


def labelled(labels: dict[str, str]) -> Object:
    return {"metadata": {"name": "n", "labels": labels} if labels else {"name": "n"}}


def matches(selector: str, labels: dict[str, str]) -> bool:
    return selection(kind_of(PODS), labels=selector).matches(labelled(labels))


#    selector                 {}     {a: x}  {a: y}  {a: x, b: 3}
LABEL_TABLE = [
    ("",                      True,  True,   True,   True),
    ("a=x",                   False, True,   False,  True),
    ("a==x",                  False, True,   False,  True),
    (" a = x ",               False, True,   False,  True),
    ("a!=x",                  True,  False,  True,   False),
    ("a in (x)",              False, True,   False,  True),
    ("a in (x, y)",           False, True,   True,   True),
    ("a in(x,y),b",           False, False,  False,  True),
    ("a notin (x)",           True,  False,  True,   False),
    ("a notin (x,y)",         True,  False,  False,  False),
    ("a",                     False, True,   True,   True),
    ("!a",                    True,  False,  False,  False),
    ("! b",                   True,  True,   True,   False),
    ("a,!b",                  False, True,   True,   False),
    ("a=x,b=3",               False, False,  False,  True),
    ("a=x,a=y",               False, False,  False,  False),
    ("a=",                    False, False,  False,  False),
    ("a in (,x)",             False, True,   False,  True),
    ("b>2",                   False, False,  False,  True),
    ("b>3",                   False, False,  False,  False),
    ("b<4",                   False, False,  False,  True),
    ("a>1",                   False, False,  False,  False),
    ("in in (x)",             False, False,  False,  False),
]  # fmt: skip
SUBJECTS: tuple[dict[str, str], ...] = ({}, {"a": "x"}, {"a": "y"}, {"a": "x", "b": "3"})


@pytest.mark.parametrize("row", LABEL_TABLE, ids=lambda row: row[0])
def test_label_selector_selects(row: tuple[str, bool, bool, bool, bool]) -> None:
    selector, *expected = row

    assert [matches(selector, labels) for labels in SUBJECTS] == expected


@pytest.mark.parametrize(
    ("selector", "complaint"),
    [
        ("a=x,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=x y", "found 'y', expected: ',' or 'end of string'"),
        ("a in x", "found 'x' expected: '('"),
        ("a in (x", "found '', expected: ',' or ')'"),
        ("a in (x y)", "found 'y', expected: ',' or ')'"),
        ("a b", "found 'b', expected: '=', '!=', '==', 'in', notin'"),
        ("!", "found '', expected: identifier"),
        ("a=!", "found '!', expected: identifier"),
        ("a=-", 'invalid label value: "-": at key: "a": a valid label'),
        ("A b/c=1", "found 'b/c'"),
        ("a b/c", "found 'b/c'"),
        ("Ex/a=1", 'invalid label key "Ex/a": prefix part'),
        ("a>x", "the value must be an integer"),
    ],
)
def test_unreadable_label_selector_is_refused(selector: str, complaint: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        selection(kind_of(WORKSPACES), labels=selector)

    assert complaint in refusal.value.message


@given(labels=label_maps, key=st.sampled_from("abc"), values=st.sets(st.sampled_from("xy3"), min_size=1))
def test_set_selectors_are_opposites(labels: dict[str, str], key: str, values: set[str]) -> None:
    listed = ",".join(sorted(values))

    inside = matches(f"{key} in ({listed})", labels)

    assert inside == any(matches(f"{key}={value}", labels) for value in values)
    assert matches(f"{key} notin ({listed})", labels) is not inside
    assert matches(f"!{key}", labels) is not matches(key, labels)


@given(labels=label_maps, other=label_maps)
def test_comma_means_both(labels: dict[str, str], other: dict[str, str]) -> None:
    terms = [f"{key}={value}" for key, value in sorted(other.items())]

    assert matches(",".join(terms), labels) == all(matches(term, labels) for term in terms)


POD: Object = {
    "metadata": {"name": "p", "namespace": "n"},
    "spec": {"nodeName": "gpu-0"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("metadata.name=p", True),
        ("metadata.name==p,metadata.namespace=n", True),
        ("metadata.name!=p", False),
        ("metadata.namespace=other", False),
        ("spec.nodeName=gpu-0", True),
        ("spec.nodeName=", False),
        ("spec.nodeName!=", True),
        ("status.phase=Running", True),
    ],
)
def test_field_selector_selects(selector: str, expected: bool) -> None:
    assert selection(kind_of(PODS), fields=selector).matches(POD) is expected


def test_missing_field_is_empty() -> None:
    unbound: Object = {"metadata": {"name": "p"}, "spec": {}}

    assert selection(kind_of(PODS), fields="spec.nodeName=").matches(unbound)
    assert not selection(kind_of(PODS), fields="spec.nodeName=gpu-0").matches(unbound)


def test_boolean_field_is_lower_case() -> None:
    cordoned: Object = {"metadata": {"name": "n"}, "spec": {"unschedulable": True}}

    assert selection(kind_of(NODES), fields="spec.unschedulable=true").matches(cordoned)


@pytest.mark.parametrize(
    ("resource", "selector", "complaint"),
    [
        (WORKSPACES, "spec.nodeName=x", "field label not supported: spec.nodeName"),
        (PODS, "spec.other=x", "field label not supported: spec.other"),
        (PODS, "nonsense", "invalid selector: 'nonsense'"),
    ],
)
def test_unknown_field_selector_is_refused(resource: Resource, selector: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        selection(kind_of(resource), fields=selector)


def test_cluster_kinds_ignore_the_namespace() -> None:
    node: Object = {"metadata": {"name": "n"}}

    assert selection(kind_of(NODES), namespace="default").matches(node)
    assert not selection(kind_of(PODS), namespace="default").matches(POD)
