"""Garbage collection as pure decisions: what nobody owns, and what the owner has lost.

A collector that is wrong deletes running GPUs, so it acts on nothing that it has seen only once. `Memory`
keeps since when each suspicion has been seen without a break; `collect` folds one round of observations into
it and returns what may be done now. Four rules keep it harmless:

- Unknown is unknown: a list that failed neither raises nor lowers a suspicion, and nothing is done on it.
- Two fresh rounds at least, and the minimum age. A round that comes too long after the one before (the
  process, or the whole cluster, was stopped) starts all suspicions anew.
- A breaker: at most so many acts of a kind in a round; when many of a kind are suspect at once, nothing is
  done. A Machine that was unready then, or in the first round, has a grace to come back in.
- Whoever executes repeats the proof live: the Machine is gone (or the same, unready), the pool has our tag.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from statemachine.machine.observations import PoolReading, PoolState
from statemachine.state import NodeLossCause

PERIOD: Final = timedelta(minutes=2)
"""Between two rounds; the published period of the collector."""

BREAK_AFTER: Final = 3 * PERIOD
"""Two rounds further apart than this are not consecutive."""


class CollectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``minimum_age`` and ``not_ready_limit`` in seconds; a published collector skipped pools under 30 s."""

    minimum_age: float = 300.0
    """Of an orphan pool, and how long a vanished pool or a node of neither must have been seen so."""
    mass_age: float = 3600.0
    """Instead of it, while orphans are so many that the breaker holds: a leak must end at last."""
    not_ready_limit: float = 600.0
    return_grace: float = 1200.0
    """What a Machine gets on top when a cluster starts or many were unready: nodes boot in any order."""
    per_round: int = 3
    """Acts of one kind in a round."""
    mass_share: float = 0.3
    """From this share of a kind on (and more than one), suspects look like an outage."""


class MachineSighting(msgspec.Struct, frozen=True, kw_only=True):
    """One Machine of ours, read live; ``launched`` and ``registered`` are its conditions of these names.

    ``node_cause`` is the NodeLossCause of its node, empty while that is there, Ready and not being deleted.
    What else keeps a Machine from being Ready (a taint, a resource) is no reason to remove it.
    """

    name: str
    uid: str
    launched: bool = False
    registered: bool = False
    deleting: bool = False
    node_cause: str = ""


class NodeSighting(msgspec.Struct, frozen=True, kw_only=True):
    """A node with our workspace label; ``pool`` is its agent pool label."""

    name: str
    pool: str
    deleting: bool = False


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round saw, all read live within it; None for a list that failed."""

    at: datetime
    pools: tuple[PoolReading, ...] | None = None
    machines: tuple[MachineSighting, ...] | None = None
    nodes: tuple[NodeSighting, ...] | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Since when each suspicion counts. Kept in memory only: its loss costs time, never a node.

    For an unready Machine that may be in the future: its grace has not begun to run out.
    """

    at: datetime | None = None
    orphans: dict[str, datetime] = {}
    doubtful: dict[str, datetime] = {}
    unready: dict[str, datetime] = {}
    parted: dict[str, datetime] = {}
    strays: dict[str, datetime] = {}


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    machine: str
    uid: str
    cause: str
    since: datetime


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done now; ``held`` says in words what the breaker keeps from being done."""

    memory: Memory
    pools: tuple[str, ...] = ()
    """Orphan pools to delete, after a live read of Machine (absent) and pool (our tag)."""
    rereads: tuple[str, ...] = ()
    """Machines whose pool is not listed, or is finished though they are not launched: to be stepped with the
    outcome of a live ReadPool."""
    removals: tuple[Removal, ...] = ()
    """Machines to be stepped with RemovalGranted."""
    nodes: tuple[str, ...] = ()
    """Nodes of neither Machine nor pool: our finalizer off, then deleted."""
    held: tuple[str, ...] = ()


DEFAULTS: Final = CollectionLimits()


def collect(memory: Memory, seen: Round, limits: CollectionLimits = DEFAULTS) -> Collection:
    """One round; ``memory`` is what the round before returned, or a new one."""
    if memory.at is None or not timedelta(0) < seen.at - memory.at <= BREAK_AFTER:
        memory = Memory()
    orphans, pools, held_pools = _orphans(memory, seen, limits)
    parted = _since(memory.parted, _parted(seen), seen.at)
    unready, removals, held_machines = _removals(memory, parted, seen, limits)
    doubtful = _since(memory.doubtful, _doubtful(seen), seen.at)
    strays = _since(memory.strays, _strays(seen), seen.at)
    kept = Memory(
        at=seen.at, orphans=orphans, doubtful=doubtful, unready=unready, parted=parted, strays=strays
    )
    return Collection(
        memory=kept,
        pools=pools,
        rereads=_old(doubtful, seen.at, limits.minimum_age)[: limits.per_round],
        removals=removals,
        nodes=_old(strays, seen.at, limits.minimum_age)[: limits.per_round],
        held=(*held_pools, *held_machines),
    )


def _since(known: dict[str, datetime], found: set[str] | None, at: datetime) -> dict[str, datetime]:
    """The suspicions that go on, and those that begin; all as they were when nothing could be seen."""
    return known if found is None else {name: known.get(name, at) for name in sorted(found)}


def _old(since: dict[str, datetime], now: datetime, age_seconds: float) -> tuple[str, ...]:
    """Those seen in an earlier round already and for so long, oldest first."""
    grown = [
        (begun, name)
        for name, begun in since.items()
        if begun < now and now - begun >= timedelta(seconds=age_seconds)
    ]
    return tuple(name for _, name in sorted(grown))


def _looks_like_outage(suspects: int, total: int, limits: CollectionLimits) -> bool:
    return suspects > 1 and suspects >= limits.mass_share * total


# --- pools ------------------------------------------------------------------------------------------


def _ours(pools: Iterable[PoolReading]) -> list[PoolReading]:
    return [pool for pool in pools if pool.owner and pool.owner == pool.name]


_Verdict = tuple[dict[str, datetime], tuple[str, ...], tuple[str, ...]]


def _orphans(memory: Memory, seen: Round, limits: CollectionLimits) -> _Verdict:
    """Pools with our tag and no Machine; in one round at most a few, and late when they are many."""
    if seen.pools is None or seen.machines is None:
        return memory.orphans, (), ()
    machines = {machine.name for machine in seen.machines}
    ours = _ours(seen.pools)
    found = {pool.name for pool in ours if pool.name not in machines and pool.state is not PoolState.DELETING}
    since = _since(memory.orphans, found, seen.at)
    many = _looks_like_outage(len(found), len(ours), limits) and len(found) > limits.per_round
    age = limits.mass_age if many else limits.minimum_age
    ages = {pool.name: _age(pool, since.get(pool.name, seen.at), seen.at) for pool in ours}
    twice = _old(since, seen.at, limits.mass_age if many else 0.0)
    ripe = tuple(name for name in twice if ages[name] >= timedelta(seconds=age))
    held = f"{len(found)} of {len(ours)} agent pools have no Machine: deletion held back"
    return since, ripe[: limits.per_round], (held,) if many and not ripe else ()


def _age(pool: PoolReading, seen_since: datetime, now: datetime) -> timedelta:
    """Of a pool whose creation time cannot be right: no more than we have seen ourselves."""
    known = pool.created_at
    return now - (known if known is not None and known <= now else seen_since)


_FINISHED = (PoolState.SUCCEEDED, PoolState.FAILED, PoolState.CANCELED)


def _doubtful(seen: Round) -> set[str] | None:
    """Machines that their pool contradicts: it has vanished, or a create that was given up came late."""
    if seen.pools is None or seen.machines is None:
        return None
    pools = {pool.name: pool for pool in _ours(seen.pools)}
    finished = {name for name, pool in pools.items() if pool.state in _FINISHED}
    standing = [machine for machine in seen.machines if not machine.deleting]
    vanished = {machine.name for machine in standing if machine.launched and machine.name not in pools}
    return vanished | {
        machine.name for machine in standing if not machine.launched and machine.name in finished
    }


def _strays(seen: Round) -> set[str] | None:
    if seen.pools is None or seen.machines is None or seen.nodes is None:
        return None
    known = {pool.name for pool in seen.pools} | {machine.name for machine in seen.machines}
    return {node.name for node in seen.nodes if node.pool and node.pool not in known}


# --- machines ---------------------------------------------------------------------------------------


def _parted(seen: Round) -> set[str] | None:
    """Machines whose node is gone or being deleted: it will not come back, whatever the others do."""
    if seen.machines is None or seen.nodes is None:
        return None
    ends = (NodeLossCause.GONE, NodeLossCause.DELETING)
    return {m.name for m in seen.machines if m.registered and not m.deleting and m.node_cause in ends}


def _removals(
    memory: Memory, parted: dict[str, datetime], seen: Round, limits: CollectionLimits
) -> tuple[dict[str, datetime], tuple[Removal, ...], tuple[str, ...]]:
    """Machines whose node registered and has been unready, without a break, for the whole limit.

    While many are unready together nothing counts: a zone or the whole cluster is down, its machines come
    back in any order, and the last of them must not find its time already used up. The same in a first
    round, for nobody knows what was before it. Only a node that is gone, or being deleted, is not waited for
    without end: its Machine, too, is removed when that has been so for the ``mass_age``.
    """
    if seen.machines is None or seen.nodes is None:
        return memory.unready, (), ()
    standing = {m.name: m for m in seen.machines if m.registered and not m.deleting}
    found = {name for name, machine in standing.items() if machine.node_cause}
    outage = _looks_like_outage(len(found), len(standing), limits)
    if outage or memory.at is None:
        held = f"{len(found)} of {len(standing)} Machines are unready together: removals held back"
        counts_from = seen.at + timedelta(seconds=limits.return_grace)
        lost = _old(parted, seen.at, limits.mass_age)[: limits.per_round]
        removals = tuple(_removal(standing[name], parted[name]) for name in lost)
        return dict.fromkeys(sorted(found), counts_from), removals, (held,) * outage
    since = _since(memory.unready, found, seen.at)
    ripe = [name for name in _old(since, seen.at, 0.0) if _is_lost(standing[name], since[name], seen, limits)]
    first = ripe[: limits.per_round]
    return since, tuple(_removal(standing[name], since[name]) for name in first), ()


def _is_lost(machine: MachineSighting, since: datetime, seen: Round, limits: CollectionLimits) -> bool:
    """A node that somebody deletes does not come back; any other one has the whole limit for it."""
    if machine.node_cause == NodeLossCause.DELETING:
        return True
    return seen.at - since >= timedelta(seconds=limits.not_ready_limit)


def _removal(machine: MachineSighting, since: datetime) -> Removal:
    cause = f"node is {machine.node_cause}"
    return Removal(machine=machine.name, uid=machine.uid, cause=cause, since=since)
