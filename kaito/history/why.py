"""Why a Workspace is in the state it is in: the verdict, the events behind it, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import TypeAlias

import msgspec

from kaito.history.chronicle import Chronicle, Moment
from kaito.history.sentences import clock, counted, describe, elapsed
from kaito.history.waits import Wait, waits
from statemachine import projection
from statemachine.events import InferenceBecameReady
from statemachine.state import Condition, ConditionStatus, ConditionType, SlotPhase, Stage, Workspace
from store.records import Record

_Watch: TypeAlias = Callable[[Moment], object]

KEPT = 2
"""Of a row of repeated events, how many at its start and at its end are shown."""

MOST_LINKS = 24
"""Of a chain that is longer than this, the middle is left out."""

FIRST_LINKS = 6


class Link(msgspec.Struct, frozen=True):
    """One event of the chain; ``omitted`` events between it and the next are not told."""

    position: int
    at: datetime
    stream: str
    text: str
    omitted: int = 0


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; ``summary`` holds whole sentences."""

    namespace: str
    name: str
    uid: str
    at: datetime
    age_seconds: float
    stage: str
    summary: tuple[str, ...]
    chain: tuple[Link, ...]
    waits: tuple[Wait, ...]


def explain(chronicle: Chronicle, at: datetime) -> Story:
    """Explain the state at an instant, from a history that ends there (see `Chronicle.until`)."""
    moments = chronicle.moments()
    last = moments[-1]
    return Story(
        namespace=chronicle.namespace,
        name=chronicle.name,
        uid=chronicle.uid,
        at=at,
        age_seconds=(at - chronicle.created_at).total_seconds(),
        stage=str(last.state.stage),
        summary=tuple(_summary(last, moments, at)),
        chain=tuple(_chain(moments)),
        waits=tuple(waits(last, at)),
    )


def blocking(state: Workspace) -> ConditionType | None:
    """The first of MachineReady, ResourceReady and InferenceReady that is not True."""
    for kind in (ConditionType.MACHINE_READY, ConditionType.RESOURCE_READY, ConditionType.INFERENCE_READY):
        if projection.conditions(state).get(kind, Condition()).status is not ConditionStatus.TRUE:
            return kind
    return None


# --- the verdict ------------------------------------------------------------------------------------


def _summary(last: Moment, moments: Sequence[Moment], at: datetime) -> Iterable[str]:
    state = last.state
    if state.stage is Stage.GONE:
        return _gone(last, moments)
    if state.stage is Stage.DELETING:
        return [_verdict(ConditionType.WORKSPACE_DELETING, state.workspace_deleting, at)]
    found = [_verdict(ConditionType.WORKSPACE_READY, state.workspace_ready, at)]
    kind = blocking(state)
    if kind is not None:
        condition = projection.conditions(state).get(kind, Condition())
        found.append(f"The first condition that is not True: {_verdict(kind, condition, at)}")
    elif state.created_at is not None and state.workspace_ready.since is not None:
        found.append(
            f"It took {_took(state.workspace_ready.since - state.created_at, moments)} from its creation."
        )
    return found


def _took(duration: timedelta, moments: Sequence[Moment]) -> str:
    """The duration, as a range when what proved the readiness does not show its very time."""
    proofs = [event for moment in moments if isinstance(event := moment.record.event, InferenceBecameReady)]
    late = timedelta(seconds=proofs[-1].precision_seconds if proofs else 0.0)
    return f"{elapsed(duration)} to {elapsed(duration + late)}" if late else elapsed(duration)


def _verdict(kind: ConditionType, condition: Condition, at: datetime) -> str:
    if condition.since is None:
        return f"{kind} has not been written yet."
    lasting = elapsed(max(at - condition.since, timedelta(0)))
    return (
        f"{kind} is {condition.status} since {clock(condition.since)} (for {lasting}), "
        f"{condition.reason}: {condition.message}."
    )


def _gone(last: Moment, moments: Sequence[Moment]) -> Iterable[str]:
    since = next(moment.at for moment in moments if moment.state.stage is Stage.GONE)
    yield f"The Workspace is gone from the API since {clock(since)}."
    if last.left:
        yield f"Not known to be gone, and so perhaps still billed: Machine {', '.join(last.left)}."
    elif last.at > since:
        yield f"Its last Machine was gone at {clock(last.at)}, {elapsed(last.at - since)} later."
    else:
        yield "Nothing of it is left."


# --- the chain of events ----------------------------------------------------------------------------


def _chain(moments: Sequence[Moment]) -> list[Link]:
    """The creation, and the events of the present spell that moved what the verdict rests on."""
    state = moments[-1].state
    watched = _watch(state)
    past = max((index for index, moment in enumerate(moments) if _is_over(moment, state)), default=0)
    spell = [after.record for before, after in pairwise(moments[past:]) if watched(before) != watched(after)]
    return _shortened([moments[0].record, *spell])


def _watch(state: Workspace) -> _Watch:
    if state.stage is not Stage.LIVE:
        return _deletion
    match blocking(state):
        case None:
            return _statuses
        case ConditionType.INFERENCE_READY:
            return _inference
        case _:
            return _machines


def _deletion(moment: Moment) -> object:
    return moment.state.stage, moment.state.deleting, moment.left, moment.state.released


def _statuses(moment: Moment) -> object:
    state = moment.state
    return [condition.status for condition in projection.conditions(state).values()], state.workload


def _inference(moment: Moment) -> object:
    state = moment.state
    return (
        state.resource_ready.status,
        state.inference_ready,
        state.workload,
        state.refused,
        state.inference_phase,
    )


def _machines(moment: Moment) -> object:
    state = moment.state
    ready = [slot for slot in state.slots if slot.phase is not SlotPhase.USABLE]
    launched = [name for name, provision in sorted(moment.provisions.items()) if provision.launched_at]
    return ready, launched, state.machine_ready, state.resource_ready.status


def _is_over(moment: Moment, state: Workspace) -> bool:
    """Whether the state after this moment no longer explains the present one.

    A deletion starts anew; so does inference once the nodes are there, and any condition once it was True.
    """
    if state.stage is not Stage.LIVE:
        return moment.state.stage is Stage.LIVE
    kind = blocking(state)
    if kind is None:
        return False
    nodes_missing = moment.state.resource_ready.status is not ConditionStatus.TRUE
    condition = projection.conditions(moment.state).get(kind, Condition())
    return condition.status is ConditionStatus.TRUE or (
        kind is ConditionType.INFERENCE_READY and nodes_missing
    )


def _shortened(records: Sequence[Record]) -> list[Link]:
    """Rows of the same kind of event about the same Machine, cut to their ends."""
    links: list[Link] = []
    for _, row in groupby(records, key=lambda record: (record.type, getattr(record.event, "machine", ""))):
        alike = list(row)
        if len(alike) <= 2 * KEPT:
            links += [_link(record) for record in alike]
            continue
        left_out = len(alike) - 2 * KEPT
        links += [_link(record) for record in alike[: KEPT - 1]]
        links += [_link(alike[KEPT - 1], left_out)]
        links += [_link(record) for record in alike[-KEPT:]]
    if len(links) <= MOST_LINKS:
        return links
    left_out = len(links) - MOST_LINKS
    break_ = msgspec.structs.replace(links[FIRST_LINKS - 1], omitted=left_out)
    return [*links[: FIRST_LINKS - 1], break_, *links[FIRST_LINKS + left_out :]]


def _link(record: Record, omitted: int = 0) -> Link:
    return Link(record.position, record.event.at, record.stream, describe(record.event), omitted)


def lines(story: Story) -> list[str]:
    """The answer as text, a paragraph each for verdict, chain and waits."""
    age = elapsed(timedelta(seconds=story.age_seconds))
    when = f"{story.at:%Y-%m-%d} {clock(story.at)} UTC, {age} after its creation"
    found = [f"{story.namespace}/{story.name} at {when}", ""]
    found += [*story.summary, "", "What led to it:"]
    width = max(len(str(link.position)) for link in story.chain)
    for link in story.chain:
        found.append(f"  {link.position:>{width}}  {clock(link.at)}  {link.text}")
        if link.omitted:
            found.append(f"  {'':>{width}}  … {counted(link.omitted, 'more event')}")
    if not story.waits:
        return [*found, "", "Nothing is waited for."]
    for wait in story.waits:
        found += ["", *_wait_lines(wait)]
    return found


def _wait_lines(wait: Wait) -> list[str]:
    found = [wait.sentence()]
    if wait.ends:
        found += ["What ends it:", *[f"  - {text}" for text in wait.ends]]
    return found
