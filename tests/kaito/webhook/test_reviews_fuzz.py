"""Whatever comes, there is an answer under the uid or a 4xx; never a 5xx, never an exception."""

from __future__ import annotations

import asyncio
import copy
import json
from random import Random
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from kaito.clock import WallClock
from kaito.webhook.application import Application
from tests.kaito.webhook.asgi import posted
from tests.kaito.webhook.clients import CATALOGUE, a_review, a_review_object, a_workspace
from tests.kaito.webhook.odd_reviews import odd_reviews

APPLICATION = Application(CATALOGUE, WallClock())

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def check(body: bytes) -> None:
    code, content = asyncio.run(posted(APPLICATION, body))

    if code != 200:
        assert code == 400, content
        return
    response = json.loads(content)["response"]
    assert response["uid"] == uid_of(body)
    assert response["allowed"] or response["status"]["code"] == 400, response


class _Uid(msgspec.Struct):
    uid: str


class _Body(msgspec.Struct):
    request: _Uid


def uid_of(body: bytes) -> str:
    """Of a body that may hold bytes that are no text, where nobody looks."""
    return msgspec.json.decode(body, type=_Body).request.uid


@given(st.binary(max_size=200))
@example(b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"\\ud800"}}')
def test_bytes_are_answered(body: bytes) -> None:
    check(body)


@given(values, values, st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT", "x"]))
def test_any_json_as_objects_is_answered(new: Any, old: Any, operation: str) -> None:
    check(a_review(new, old, operation=operation))


@given(values, st.integers(0, 2**32), st.booleans())
def test_spoiled_workspace_is_answered(value: Any, seed: int, spoil_old: bool) -> None:
    """A real review with one place, anywhere in it, replaced by anything."""
    random = Random(f"{seed}/spoil")
    review = a_review_object(a_workspace(), a_workspace() if spoil_old else None)
    uid = review["request"]["uid"]
    place: Any = review["request"]
    while random.random() < 0.8 and (below := [each for each in place.values() if isinstance(each, dict)]):
        place = random.choice(below)
    place[random.choice([*place, "odd"])] = copy.deepcopy(value)
    if review["request"].get("uid") != uid:
        return

    check(json.dumps(review).encode())


def test_odd_reviews_are_answered() -> None:
    """Deep, huge, doubled and half of a character: what generated values seldom are."""
    for body in odd_reviews(300, seed=1):
        check(body)
