"""JSON documents in the virtual API server: taken over by copy, compared by content, else shared."""

from __future__ import annotations

from typing import Any

import msgspec

from kaito.runtime.ports import BadRequest

_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder()


def copied(document: Any) -> Any:
    """A copy that shares nothing with the caller's, made of JSON types alone.

    Raises:
        BadRequest: The document is not JSON.
    """
    try:
        return _decoder.decode(_encoder.encode(document))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the object provided is not JSON: {error}") from error


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON, whatever the order of their fields.

    Python holds ``1``, ``1.0`` and ``True`` for equal and JSON does not, so what looks equal is compared
    once more as bytes. Shared parts are not looked at.
    """
    if one is other:
        return True
    if one != other:
        return False
    return _canonical.encode(one) == _canonical.encode(other)
