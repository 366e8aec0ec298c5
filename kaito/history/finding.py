"""From the name that a user types to the streams of a log."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import msgspec

from kaito.history.chronicle import WORKSPACES, Chronicle, load
from kaito.problems import Problem
from store.errors import StoreError
from store.records import EventLog


class Life(msgspec.Struct, frozen=True, order=True):
    """One life of a Workspace: a name is used again after a deletion, a UID never."""

    namespace: str
    name: str
    uid: str

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def stream(self) -> str:
        return f"{WORKSPACES}{self.namespace}/{self.name}/{self.uid}"


def lives(log: EventLog) -> list[Life]:
    """Every life in the log, in the order of their first events."""
    found = []
    for head in log.streams(WORKSPACES):
        parts = head.stream.split("/", 3)
        if len(parts) == 4:
            found.append(Life(*parts[1:]))
    return found


def find(log: EventLog, name: str, namespace: str = "", uid: str = "") -> Chronicle:
    """The history of the Workspace of this name, the newest life unless ``uid`` names another.

    Args:
        name: ``name`` or ``namespace/name``.
        namespace: Where to look; empty for all namespaces.

    Raises:
        Problem: There is none, the message names the nearest; or there are several to choose from.
    """
    namespace, name = _qualified(name, namespace)
    known = lives(log)
    named = [life for life in known if life.name == name and namespace in ("", life.namespace)]
    if not named:
        raise Problem(_unknown(f"{namespace}/{name}" if namespace else name, known))
    labels = sorted({life.label for life in named})
    if len(labels) > 1:
        raise Problem(f"several Workspaces are named {name}; expected one of {', '.join(labels)}")
    if uid:
        return _with_uid(log, named, uid)
    return newest(log, named)


def newest(log: EventLog, named: Sequence[Life]) -> Chronicle:
    """The life that began last; an import may have appended an older one behind it."""
    return max((load(log, life.stream) for life in named), key=lambda chronicle: chronicle.created_at)


def find_all(log: EventLog, namespace: str = "") -> tuple[list[Chronicle], list[str]]:
    """The newest life of every Workspace, sorted by namespace and name; and what could not be read.

    A stream that holds what nobody can decode is set aside: the others are as good as before.
    """
    by_label: dict[tuple[str, str], list[Life]] = {}
    for life in lives(log):
        if namespace in ("", life.namespace):
            by_label.setdefault((life.namespace, life.name), []).append(life)
    found: list[Chronicle] = []
    unreadable: list[str] = []
    for key in sorted(by_label):
        try:
            found.append(newest(log, by_label[key]))
        except StoreError as error:
            unreadable.append(f"{'/'.join(key)}: {error}")
    return found, unreadable


def _qualified(name: str, namespace: str) -> tuple[str, str]:
    if "/" not in name:
        return namespace, name
    given, _, name = name.partition("/")
    if namespace not in ("", given):
        raise Problem(f"the name says namespace {given}, the option says {namespace}; expected one of them")
    return given, name


def _with_uid(log: EventLog, named: Sequence[Life], uid: str) -> Chronicle:
    for life in named:
        if life.uid == uid:
            return load(log, life.stream)
    uids = ", ".join(life.uid for life in named)
    raise Problem(f"{named[0].label} has no life with UID {uid}; expected one of {uids}")


def _unknown(asked: str, known: Sequence[Life]) -> str:
    if not known:
        return f"no Workspace {asked} in the log: it holds none at all"
    names = sorted({life.label if "/" in asked else life.name for life in known})
    near = get_close_matches(asked, names, n=3, cutoff=0.4)
    if near:
        return f"no Workspace {asked} in the log; the nearest: {', '.join(near)}"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"no Workspace {asked} in the log; it holds {', '.join(names[:5])}{more}"
