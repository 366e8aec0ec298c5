"""From the evidence of all files to the histories of all streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from kaito.importing.attribution import Attributed, Ownership, attribute
from kaito.importing.evidence import Evidence, Kind, OddLine
from kaito.importing.histories import Story
from kaito.importing.lives import Life, find_lives
from kaito.importing.machines import MachineStory, machine_of_node, node_of_provider_id
from kaito.importing.reading import Reading
from kaito.importing.tables import place_rows
from statemachine.replay import fold
from store.records import StoredEvent

_PROVISIONER = frozenset(
    {Kind.POOL_CREATION, Kind.LAUNCH, Kind.POOL_DELETION, Kind.NODE_DELETED, Kind.MACHINE_DELETED}
)
_NODELESS = frozenset({Kind.MACHINE_CHECK, Kind.MACHINE_READY})


class Attested(NamedTuple):
    """An event and the line that proves it, such as ``workspace.log:85``."""

    event: StoredEvent
    cause: str


class Note(NamedTuple):
    """Why a stream's history is shorter than the logs."""

    stream: str
    why: str


class Told(msgspec.Struct):
    histories: dict[str, tuple[Attested, ...]]
    unattributed: list[OddLine]
    notes: list[Note]


def tell(readings: Sequence[Reading]) -> Told:
    """The histories that the files prove together.

    Raises:
        AgesUnanchored: A table stands alone.
    """
    evidence = sorted((item for reading in readings for item in reading.evidence), key=_place)
    items: list[Attributed] = list(zip(evidence, find_lives(evidence), strict=True))
    rows = place_rows([row for reading in readings for row in reading.rows], items)
    items = sorted([*items, *rows.evidence], key=lambda attributed: _place(attributed[0]))
    teller = _Teller(attribute(items), {**_nodes(evidence), **rows.nodes}, rows.instance_types)
    for item, life in items:
        teller.take(item, life)
    return teller.told([*rows.unattributed])


def _place(item: Evidence) -> tuple[object, ...]:
    return item[:3]


def _nodes(evidence: Iterable[Evidence]) -> dict[str, str]:
    """The node of each Machine, from whatever line names one; the provider's own line counts most."""
    nodes: dict[str, str] = {}
    for item in evidence:
        if item.kind is Kind.LAUNCH:
            machine, node = node_of_provider_id(item.text)
        elif item.kind is Kind.MACHINE_DELETED:
            machine, node = item.machine, item.name
        elif item.kind in (Kind.NODE_LABELLED, Kind.NODE_DELETED):
            machine, node = machine_of_node(item.name), item.name
        else:
            continue
        if machine and node:
            nodes.setdefault(machine, node)
    return nodes


class _Teller:
    """All stories at once; hands each line to the one it belongs to."""

    def __init__(self, ownership: Ownership, nodes: dict[str, str], instance_types: dict[Life, str]) -> None:
        self._ownership = ownership
        self._nodes = nodes
        self._instance_types = instance_types
        self._stories: dict[Life, Story] = {}
        self._named: dict[str, list[Story]] = {}
        """The stories by the bare name of their Workspace."""
        self._machines: dict[str, MachineStory] = {}
        self._unattributed: list[OddLine] = []

    def take(self, item: Evidence, life: Life | None) -> None:
        if item.kind in _PROVISIONER:
            self._take_provisioner(item)
        elif life is not None:
            self._story(life).take(item)
        elif item.kind is Kind.MACHINE_CREATION or item.kind in _NODELESS:
            self._take_machine(item)
        elif item.kind is Kind.WORKLOAD_READY:
            self._take_workload(item)
        elif item.kind is Kind.NODE_LABELLED and machine_of_node(item.name) not in self._ownership.owners:
            self._refuse(item, f"node {item.name} belongs to no Machine of the log")

    def _story(self, life: Life) -> Story:
        story = self._stories.get(life)
        if story is None:
            story = self._stories[life] = Story(life, self._instance_types.get(life, ""), self._nodes)
            self._named.setdefault(life.key[1], []).append(story)
        return story

    def _take_provisioner(self, item: Evidence) -> None:
        machine = item.machine or machine_of_node(item.name)
        if not machine:
            self._refuse(item, f"node {item.name} belongs to no Machine of the log")
            return
        self._machines.setdefault(machine, MachineStory(machine)).take(item)
        owner = self._ownership.owners.get(machine)
        if owner is not None and owner in self._stories:
            self._story(owner).take(item)

    def _take_machine(self, item: Evidence) -> None:
        machine = item.machine
        owner = self._ownership.owners.get(machine)
        if owner is not None:
            self._story(owner).take(item)
            return
        possible = self._ownership.ambiguous.get(machine, [])
        names = " or ".join("/".join(life.key) for life in possible)
        self._refuse(
            item,
            f"Machine {machine} may be of {names}" if names else f"no line says whose Machine {machine} is",
        )
        for life in possible:
            self._story(life).end(f"{item.cause}: Machine {machine} may be of {names}")

    def _take_workload(self, item: Evidence) -> None:
        """The line names a workload without its namespace."""
        named = [story for story in self._named.get(item.name, ()) if not story.gone]
        if len(named) > 1:
            named = [story for story in named if story.state.workload == f"{item.text}/{item.name}"]
        if len(named) == 1:
            named[0].take(item)
        else:
            self._refuse(item, f"{item.text} {item.name} may be of {len(named)} Workspaces")

    def _refuse(self, item: Evidence, why: str) -> None:
        self._unattributed.append(OddLine(item.file, item.line, str(item.kind), why))

    def told(self, unattributed: list[OddLine]) -> Told:
        histories: dict[str, tuple[Attested, ...]] = {}
        notes: list[Note] = []
        for story in self._stories.values():
            events = story.events()
            fold(event for event, _ in events)
            if why := story.ended or story.held_back():
                notes.append(Note(story.life.stream, why))
            histories[story.life.stream] = tuple(Attested(event, cause) for event, cause in events)
        for machine in self._machines.values():
            histories[machine.stream] = tuple(Attested(event, cause) for event, cause in machine.events)
        ordered = sorted(
            ((stream, history) for stream, history in histories.items() if history),
            key=lambda pair: (pair[1][0].event.at, pair[0]),
        )
        return Told(dict(ordered), unattributed + self._unattributed, notes)
