"""What of the configuration is ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kaito.runtime.ports import Object
from kaito.webhook.certificates import Terms, issue
from kaito.webhook.configuration import completed, trusted
from tests.builders import EPOCH
from tests.kaito.webhook.world import a_configuration

ONE, TWO = (issue({"webhook"}, EPOCH, Terms(valid=timedelta(days=900))).authority for _ in range(2))
NAMESPACE: Object = {"metadata": {"name": "kaito-system", "uid": "u1"}}
OURS = {"apiVersion": "v1", "kind": "Namespace", "name": "kaito-system", "uid": "u1", "controller": True}
EXCLUDED = {"key": "webhooks.knative.dev/exclude", "operator": "DoesNotExist"}


def entry_of(configuration: Object) -> dict[str, Any]:
    (entry,) = configuration["webhooks"]
    return dict(entry)


def test_configuration_of_the_chart_is_completed() -> None:
    found = completed(a_configuration(), [ONE], NAMESPACE)

    entry = entry_of(found)
    assert entry["rules"][0]["resources"] == ["workspaces", "workspaces/status"]
    assert entry["clientConfig"]["service"] == {
        "name": "webhook",
        "namespace": "kaito-system",
        "port": 9443,
        "path": "/validate/workspace.kaito.sh",
    }
    assert entry["namespaceSelector"] == {"matchExpressions": [EXCLUDED]}
    assert (entry["failurePolicy"], entry["sideEffects"], entry["timeoutSeconds"]) == ("Fail", "None", 10)
    assert found["metadata"]["ownerReferences"] == [OURS]
    assert trusted(found) == (ONE,)


def test_completed_configuration_is_left_alone() -> None:
    once = completed(a_configuration(), [ONE, TWO], NAMESPACE)

    assert completed(once, [TWO, ONE], NAMESPACE) == once
    assert completed(once, [], None) == once


def test_url_stays_a_url() -> None:
    client = {"url": "https://127.0.0.1:9443/validate/workspace.kaito.sh"}

    entry = entry_of(completed(a_configuration(clientConfig=client), [ONE], None))

    assert entry["clientConfig"]["url"] == client["url"]
    assert "service" not in entry["clientConfig"]


def test_other_expressions_and_webhooks_stay() -> None:
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]}
    configuration = a_configuration(namespaceSelector=selector, timeoutSeconds=3)
    configuration["webhooks"].append({"name": "other"})

    ours, other = completed(configuration, [ONE], None)["webhooks"]

    assert ours["namespaceSelector"]["matchExpressions"] == [*selector["matchExpressions"], EXCLUDED]
    assert ours["namespaceSelector"]["matchLabels"] == {"a": "b"}
    assert ours["timeoutSeconds"] == 3
    assert other == {"name": "other"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{**OURS, "blockOwnerDeletion": True}], [{**OURS, "blockOwnerDeletion": True}]),
        ([{**OURS, "uid": "gone"}], [OURS]),
        (
            [{"kind": "Helm", "name": "h", "uid": "h", "controller": True}],
            [
                {"kind": "Helm", "name": "h", "uid": "h", "controller": True},
                {key: value for key, value in OURS.items() if key != "controller"},
            ],
        ),
    ],
)
def test_namespace_owns_the_configuration(before: list[Any], after: list[Any]) -> None:
    configuration = a_configuration()
    configuration["metadata"]["ownerReferences"] = before

    assert completed(configuration, [], NAMESPACE)["metadata"]["ownerReferences"] == after


@pytest.mark.parametrize(
    ("configuration", "found"),
    [
        (None, None),
        ({"metadata": {}}, None),
        ({"metadata": {}, "webhooks": [{"name": "other"}]}, None),
        (a_configuration(), ()),
        (a_configuration(clientConfig={"caBundle": "%%%"}), ()),
        (a_configuration(clientConfig={"caBundle": "Cg=="}), ()),
    ],
)
def test_untrusted_and_absent_differ(configuration: Object | None, found: Any) -> None:
    assert trusted(configuration) == found
