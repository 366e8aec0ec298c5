"""Which life of a Workspace a line speaks of: a name may be created again after it was deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from kaito.importing.evidence import Evidence, Kind, WorkspaceKey

_ENDING = frozenset({Kind.DELETION, Kind.COLLECTION, Kind.RELEASE, Kind.RECONCILE_FAILED})
"""What a stale cache may still log after the Workspace is gone."""


class Life(msgspec.Struct, eq=False):
    """One Workspace object from its creation, or from the first line that shows it, to its release.

    ``adopted`` says that the logs begin when it had a past: its first lines are none of a new Workspace.
    It is None until a second line decides it.
    """

    key: WorkspaceKey
    created_at: datetime
    cause: str
    admitted: bool = False
    """Whether the logs show its admission, so that they show its whole life."""
    adopted: bool | None = None
    deletion_at: datetime | None = None
    released: bool = False

    @property
    def uid(self) -> str:
        """The logs carry no UID; this one is the same for every import of the same run."""
        text = f"{self.key[0]}/{self.key[1]}/{self.created_at.isoformat()}"
        return f"imported-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def stream(self) -> str:
        return f"workspace/{self.key[0]}/{self.key[1]}/{self.uid}"


def find_lives(evidence: Sequence[Evidence]) -> list[Life | None]:
    """The life each piece of evidence speaks of, None for one that names no Workspace or an ended life."""
    finder = _Finder()
    return [finder.life_of(item) if item.workspace is not None else None for item in evidence]


class _Finder:
    def __init__(self) -> None:
        self._lives: dict[WorkspaceKey, Life] = {}
        self._tentative: dict[WorkspaceKey, Evidence] = {}

    def life_of(self, item: Evidence) -> Life | None:
        key = item.workspace
        assert key is not None
        life = self._lives.get(key)
        if life is None or (life.released and self._begins(key, item)):
            life = self._begin(key, item)
        elif life.released:
            return None
        if life.adopted is None and item.kind is not Kind.RECONCILING:
            life.adopted = not _is_new(item)
        self._note_end(life, item)
        return life

    def _begins(self, key: WorkspaceKey, item: Evidence) -> bool:
        """Whether this line of a name whose last object is gone can only be about a new one."""
        if item.kind is Kind.RECONCILING:
            self._tentative.setdefault(key, item)
            return False
        if item.kind in _ENDING or item.name == "WorkspaceDeleting":
            self._tentative.pop(key, None)
            return False
        return True

    def _begin(self, key: WorkspaceKey, item: Evidence) -> Life:
        first = self._tentative.pop(key, item)
        if item.kind is Kind.ADMITTED:
            first = item
        life = Life(key, first.at, first.cause, admitted=item.kind is Kind.ADMITTED)
        self._lives[key] = life
        return life

    def _note_end(self, life: Life, item: Evidence) -> None:
        if item.kind is Kind.RELEASE:
            life.released = True
        if item.kind in (Kind.DELETION, Kind.RELEASE) and life.deletion_at is None:
            life.deletion_at = item.order


def _is_new(item: Evidence) -> bool:
    """Whether the first thing the controller did is what it does for a new Workspace."""
    if item.kind is Kind.CONDITION:
        return item.name == "MachineReady" and item.status != "False"
    return item.kind in (Kind.ADMITTED, Kind.NODES_MISSING, Kind.RECONCILE_FAILED)
