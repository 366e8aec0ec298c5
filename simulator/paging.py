"""Lists in pages: what a request says of where to read, and a page cut from one snapshot."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right

import msgspec

from kaito.runtime.ports import ApiError, BadRequest, Object, Page
from simulator.selectors import Selection


class Token(msgspec.Struct, frozen=True):
    """Where a list goes on: after ``start``, at the snapshot of revision ``rv``."""

    rv: int
    start: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


def read_version(text: str, *, exact: bool = False) -> int:
    """A resourceVersion of a request; empty reads as 0, which means any."""
    if text and not (text.isascii() and text.isdigit()):
        why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        if exact:
            raise BadRequest(f"invalid resource version: {why}")
        # The watch cache, which answers all but exact requests, holds it for a fault of its own.
        raise ApiError(why)
    return int(text or 0)


def read_token(text: str) -> Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Token)
    except (binascii.Error, UnicodeError, msgspec.DecodeError) as error:
        raise BadRequest(f"continue key is not valid: {error}") from error


def page(
    objects: dict[str, Object],
    keys: list[str],
    selection: Selection,
    *,
    revision: int,
    start: str = "",
    limit: int = 0,
) -> Page:
    """The objects after ``start`` that match, at most ``limit`` of them (0: all).

    Args:
        keys: All keys of ``objects``, in order.
    """
    first, last = _range(keys, selection.namespace)
    first = max(first, bisect_right(keys, start)) if start else first
    items: list[Object] = []
    for key in keys[first:last]:
        obj = objects[key]
        if not selection.matches(obj):
            continue
        if limit and len(items) == limit:
            return Page(items, str(revision), str(Token(revision, start)))
        items.append(obj)
        start = key
    return Page(items, str(revision))


def _range(keys: list[str], namespace: str) -> tuple[int, int]:
    if not namespace:
        return 0, len(keys)
    # "0" is the character after "/", so this is where the keys of the namespace end.
    return bisect_left(keys, f"{namespace}/"), bisect_left(keys, f"{namespace}0")
