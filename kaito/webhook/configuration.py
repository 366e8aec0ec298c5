"""The ValidatingWebhookConfiguration: what of it is ours, and how it should read.

It is installed by the chart and completed here. Whatever is not named below stays as it was found.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

from kaito.runtime.ports import WORKSPACES, Object
from kaito.webhook import certificates

NAME = "validation.workspace.kaito.sh"
"""Of the configuration, and of the one webhook in it that is ours."""

PATH = "/validate/workspace.kaito.sh"
EXCLUDE_LABEL = "webhooks.knative.dev/exclude"
"""A namespace with this label is not validated, as published."""

MAX_TIMEOUT_SECONDS = 10

_RULES = [
    {
        "apiGroups": [WORKSPACES.group],
        "apiVersions": [WORKSPACES.version],
        "operations": ["CREATE", "UPDATE"],
        "resources": [WORKSPACES.plural, f"{WORKSPACES.plural}/status"],
        "scope": "*",
    }
]


def trusted(configuration: Object | None) -> tuple[str, ...] | None:
    """The authorities that our webhook is trusted by; None without such a webhook."""
    entry = _entry(configuration or {})
    return None if entry is None else _authorities(_mapping(entry.get("clientConfig")))


def completed(configuration: Object, authorities: Iterable[str], namespace: Object | None) -> Object:
    """The configuration as it should be; equal to the one given when nothing is to be done.

    Args:
        authorities: What to trust, in PEM; without any, what is trusted stays.
        namespace: The operator's own, which is to own the configuration, so that it does not outlive the
            operator and refuse everything; None when it could not be read.
    """
    ours = _entry(configuration)
    webhooks = [
        _completed_entry(each, authorities) if each is ours else each for each in _entries(configuration)
    ]
    metadata = configuration["metadata"]
    if namespace is not None:
        metadata = {**metadata, "ownerReferences": _owners(metadata.get("ownerReferences") or [], namespace)}
    return {**configuration, "metadata": metadata, "webhooks": webhooks}


def _completed_entry(entry: dict[str, Any], authorities: Iterable[str]) -> dict[str, Any]:
    found = entry.get("timeoutSeconds") or MAX_TIMEOUT_SECONDS
    return {
        **entry,
        "rules": _RULES,
        "clientConfig": _client(_mapping(entry.get("clientConfig")), tuple(authorities)),
        "namespaceSelector": _selector(_mapping(entry.get("namespaceSelector"))),
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": min(found, MAX_TIMEOUT_SECONDS),
        "admissionReviewVersions": ["v1"],
    }


def _client(client: dict[str, Any], authorities: tuple[str, ...]) -> dict[str, Any]:
    """A service gets our path; a url, as used when the operator runs outside, is somebody's own choice."""
    changed = dict(client)
    if isinstance(service := client.get("service"), dict):
        changed["service"] = {**service, "path": PATH}
    # The order in the bundle means nothing; rewriting it would be a write for nothing.
    if authorities and set(authorities) != set(_authorities(client)):
        changed["caBundle"] = b64encode("".join(authorities).encode()).decode()
    return changed


def _authorities(client: dict[str, Any]) -> tuple[str, ...]:
    try:
        bundle = b64decode(client.get("caBundle") or "", validate=True).decode()
    except (binascii.Error, ValueError, TypeError):
        return ()
    return tuple(certificates.readable(bundle))


def _selector(selector: dict[str, Any]) -> dict[str, Any]:
    expressions = [
        each for each in selector.get("matchExpressions") or [] if each.get("key") != EXCLUDE_LABEL
    ]
    ours = {"key": EXCLUDE_LABEL, "operator": "DoesNotExist"}
    if ours in (selector.get("matchExpressions") or []):
        return selector
    return {**selector, "matchExpressions": [*expressions, ours]}


def _owners(references: list[dict[str, Any]], namespace: Object) -> list[dict[str, Any]]:
    """The references with the namespace among them; one to its former life would have us collected.

    It is the controller, as published, unless there is one: the server allows no second. It does not block
    the namespace's deletion, for that would take the right to update the namespace's finalizers.
    """
    name, uid = namespace["metadata"]["name"], namespace["metadata"]["uid"]
    if any(each.get("uid") == uid for each in references):
        return references
    others = [each for each in references if (each.get("kind"), each.get("name")) != ("Namespace", name)]
    ours: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": uid}
    if not any(each.get("controller") for each in others):
        ours["controller"] = True
    return [*others, ours]


def _entry(configuration: Object) -> dict[str, Any] | None:
    return next((each for each in _entries(configuration) if each.get("name") == NAME), None)


def _entries(configuration: Object) -> list[dict[str, Any]]:
    return configuration.get("webhooks") or []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
