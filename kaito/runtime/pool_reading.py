"""Pools and operations as Azure Resource Manager describes them in JSON, read into our types.

Reading is lenient: a document with a hole in it still says that the pool exists, and that is never lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaito.runtime.faults import fault_of
from kaito.runtime.pools import Operation, OperationState, Pool, PoolFault, PoolState

_STATES = {str(state).lower(): state for state in PoolState}
_OPERATION_STATES = {
    str(state).lower(): state
    for state in (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELED)
}


def pool_state(text: object) -> PoolState:
    """The provisioningState, in any case; what the service invents is under way."""
    return _STATES.get(text.lower(), PoolState.UNKNOWN) if isinstance(text, str) else PoolState.UNKNOWN


def pool_of(document: object) -> Pool:
    """The pool in a resource document; a part that cannot be read is left at its default."""
    resource = _mapping(document)
    properties = _mapping(resource.get("properties"))
    count = properties.get("count")
    return Pool(
        name=_name(resource),
        state=pool_state(properties.get("provisioningState")),
        vm_size=_text(properties.get("vmSize")),
        tags=_texts(properties.get("tags")),
        labels=_texts(properties.get("nodeLabels")),
        count=count if isinstance(count, int) and not isinstance(count, bool) else 1,
        mode=_text(properties.get("mode")) or "User",
        etag=_text(properties.get("eTag")),
        fault=_provisioning_fault(properties),
    )


def operation_of(url: str, document: object) -> Operation:
    """How far an operation is. A status outside of the three terminal ones means that it goes on."""
    answer = _mapping(document)
    state = _OPERATION_STATES.get(_text(answer.get("status")).lower(), OperationState.IN_PROGRESS)
    if state not in (OperationState.FAILED, OperationState.CANCELED):
        return Operation(url=url, state=state)
    error = _mapping(answer.get("error"))
    return Operation(url=url, state=state, fault=_fault_in(error))


def _provisioning_fault(properties: Mapping[str, Any]) -> PoolFault | None:
    """Newer API versions tell the last failed operation's error with the pool."""
    error = _mapping(_mapping(properties.get("status")).get("provisioningError"))
    inner = _mapping(error.get("error")) or error
    return _fault_in(inner) if inner else None


def _fault_in(error: Mapping[str, Any]) -> PoolFault:
    return fault_of(error.get("code"), error.get("message"), error.get("details"))


def _name(resource: Mapping[str, Any]) -> str:
    """The name, or the end of the id where only that is there."""
    return _text(resource.get("name")) or _text(resource.get("id")).rstrip("/").rpartition("/")[2]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> dict[str, str]:
    return {key: found for key, found in _mapping(value).items() if isinstance(found, str)}
