"""Which rules judge a review, and what the answer says."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from kaito.catalogue.catalogue import Catalogue
from kaito.webhook import reviews
from kaito.webhook.reviews import Nonsense
from tests.kaito.webhook.clients import CATALOGUE, a_review, a_workspace

GOOD = a_workspace()
OTHER = a_workspace(preset="falcon-7b-instruct")
UNKNOWN = a_workspace(preset="gpt-9")
ODD_SELECTOR = {
    **GOOD["resource"],
    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
}
OLD_RULES = a_workspace(resource=ODD_SELECTOR, inference={"preset": {"name": "gone"}})
"""Stored when rules were weaker: today its selector alone would stop every change."""


def answered(body: bytes, catalogue: Catalogue = CATALOGUE) -> dict[str, Any]:
    answer = json.loads(reviews.encode(reviews.judge(reviews.decode(body), catalogue)))
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = answer["response"]
    return response


def with_metadata(obj: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], **changes}}


DELETED = with_metadata(UNKNOWN, deletionTimestamp="2024-04-05T18:29:58Z", finalizers=[])


@pytest.mark.parametrize(
    ("new", "old", "request_", "allowed"),
    [
        (GOOD, None, {}, True),
        (UNKNOWN, None, {}, False),
        (GOOD, GOOD, {}, True),
        (OTHER, GOOD, {}, False),
        (OTHER, GOOD, {"subResource": "status"}, False),
        (with_metadata(OLD_RULES, labels={"a": "b"}), OLD_RULES, {}, True),
        (with_metadata(OLD_RULES, finalizers=["kaito.sh/x"]), OLD_RULES, {}, True),
        ({**OLD_RULES, "status": {"workerNodes": ["n"]}}, OLD_RULES, {"subResource": "status"}, True),
        (
            with_metadata(OLD_RULES, annotations={"kaito.sh/machine-timeout": "soon"}),
            OLD_RULES,
            {"subResource": "status"},
            True,
        ),
        (DELETED, GOOD, {}, True),
        (a_workspace(inference=[]), DELETED, {}, True),
        (None, UNKNOWN, {"operation": "DELETE"}, True),
        (None, None, {"operation": "DELETE"}, True),
        ("odd", "odd", {"operation": "CONNECT"}, True),
        (None, None, {}, False),
    ],
)
def test_rules_follow_from_the_request(new: Any, old: Any, request_: dict[str, Any], allowed: bool) -> None:
    response = answered(a_review(new, old, **request_))

    assert response["allowed"] is allowed
    assert response["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"


def test_denial_reads_as_published() -> None:
    response = answered(a_review(UNKNOWN))

    assert response["status"] == {
        "status": "Failure",
        "code": 400,
        "reason": "BadRequest",
        "message": "validation failed: "
        "invalid value: Unsupported inference preset name gpt-9: inference.presetName",
    }


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [
        (None, None, "cannot decode incoming new object: expected a mapping, found nothing"),
        ([1], None, "cannot decode incoming new object: expected a mapping, found a list"),
        (GOOD, "x", 'cannot decode incoming old object: expected a mapping, found "x"'),
    ],
)
def test_undecodable_object_is_denied_in_words(new: Any, old: Any, text: str) -> None:
    response = answered(a_review(new, old))

    assert response["status"]["message"] == f"decoding request failed: {text}"
    assert response["status"]["code"] == 400


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(("levels", "denied"), [(128, False), (129, True), (400, True)])
def test_depth_of_an_object_is_limited(levels: int, denied: bool) -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "b"}]}, "metadata": {"x": nested(levels - 4)}}

    response = answered(a_review(a_workspace(inference={"template": template})))

    assert ("expected at most 128 levels" in str(response.get("status"))) is denied


def test_body_of_brackets_is_nonsense() -> None:
    head = a_review(GOOD)[:-2] + b', "options": '

    with pytest.raises(Nonsense, match="nests too deep"):
        reviews.decode(head + b"[" * 200_000 + b"]" * 200_000 + b"}}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'"\\ud800"',
        a_review(GOOD)[:-1],
        a_review(GOOD, uid=""),
        a_review(GOOD, uid=None),
        a_review(GOOD, uid=7),
        a_review(GOOD, operation="PATCH"),
        a_review(GOOD).replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
        a_review(GOOD).replace(b"AdmissionReview", b"ConversionReview"),
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}',
    ],
)
def test_other_bodies_are_nonsense(body: bytes) -> None:
    with pytest.raises(Nonsense, match="could not decode body"):
        reviews.decode(body)


def test_defect_of_ours_is_a_denial(caplog: pytest.LogCaptureFixture) -> None:
    broken: Any = None

    with caplog.at_level(logging.ERROR):
        response = answered(a_review(GOOD), broken)

    assert response["allowed"] is False
    assert response["status"]["code"] == 500
    assert "admission failed" in caplog.text


def test_warnings_are_those_of_validate() -> None:
    preset = {"name": "falcon-7b", "accessMode": "public", "presetOptions": {"image": "mine"}}
    workspace = a_workspace(inference={"preset": preset})

    response = answered(a_review(workspace))

    said = "image is ignored, as accessMode is public: inference.preset.presetOptions.image"
    assert response["warnings"] == [said]


def test_status_write_warns_of_nothing() -> None:
    workspace = {**GOOD, "inference": {**GOOD["inference"], "adapters": [{"strength": "1"}]}}

    response = answered(
        a_review({**workspace, "status": {"workerNodes": ["n"]}}, workspace, subResource="status")
    )

    assert response == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}
