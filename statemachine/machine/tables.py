"""Every transition of a Machine, as tables.

A Machine is several small machines that see the same events. Its *stage* is the object's own life, its
*pool* how far the agent pool is, and each *condition* a machine over Absent, Unknown, False and True. Ready
alone has no events of its own: the joint rows derive it from the three living conditions.

A row is (machine, event, source, dest, reason, message), read as in the Workspace's tables: a machine sees
the events its rows name, and in a source they do not list such an event is illegal. Templates are over ``e``
(the event) and ``m`` (the Machine with the event's other effects applied); KEEP leaves both texts.

The strings of the published API stand for the situations it names. Reasons it lacks: Launching, the
BlockedReasons, and those of MachineTerminating.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import transitions

from statemachine import rows
from statemachine.machine import events as ev
from statemachine.machine.state import MachineConditionType, PoolPhase
from statemachine.rows import Move, Template
from statemachine.state import ConditionStatus, Stage

ABSENT, UNKNOWN, FALSE, TRUE = ConditionStatus
LAUNCHED, REGISTERED, INITIALIZED, READY, TERMINATING = MachineConditionType
NONE, REQUESTED, CREATING, UP, SPOILED, DOOMED, LEAVING = PoolPhase

KEEP: Final = None
"""In place of a reason: reason and message stay as they are."""

Event = type[ev.MachineEvent]
ConditionRow = tuple[MachineConditionType, Event, ConditionStatus, ConditionStatus, Template, str]

NOT_LAUNCHED: Final = ("MachineNotLaunched", "Machine is not launched")
NO_NODE: Final = ("NodeNotFound", "Node not registered with cluster")
TWO_NODES: Final = ("MultipleNodesFound", "Invariant violated, machine matched multiple nodes")
NOT_READY: Final = ("NodeNotReady", "Node status is NotReady")
SAID: Final = ("{e.reason}", "{e.message}")
PENDING: Final = ("Launching", "agent pool {m.name} is to be created")
ASKED: Final = ("Launching", "asking for agent pool {e.pool}, attempt {e.attempt}")
CREATED: Final = ("Launching", "agent pool {e.pool} is being created, attempt {m.attempt}")
GIVEN_UP: Final = ("NodeBootstrapFailed", "{e.message}")
TIMED_OUT: Final = ("ProviderFault", "{e.message}")
SAME: Final = (KEEP, "")
FINE: Final = ("", "")

# MachineLaunched is False as long as an attempt has failed and no later one is known to be under way: an
# attempt that the cloud refuses at once does not make it flap.
EVENT_TRIGGERED: Final[tuple[ConditionRow, ...]] = (
    # condition    event                         source    dest      reason and message
    (LAUNCHED,     ev.MachineAccepted,           ABSENT,   UNKNOWN,  *PENDING),
    (LAUNCHED,     ev.MachineSpecChanged,        UNKNOWN,  UNKNOWN,  *SAME),
    (LAUNCHED,     ev.MachineSpecChanged,        FALSE,    UNKNOWN,  *PENDING),
    (LAUNCHED,     ev.MachineSpecChanged,        TRUE,     TRUE,     *SAME),
    (LAUNCHED,     ev.MachineSpecRefused,        UNKNOWN,  FALSE,    "ConfigurationInvalid", "{e.message}"),
    (LAUNCHED,     ev.MachineSpecRefused,        FALSE,    FALSE,    "ConfigurationInvalid", "{e.message}"),
    (LAUNCHED,     ev.PoolCreationRequested,     ABSENT,   UNKNOWN,  *ASKED),
    (LAUNCHED,     ev.PoolCreationRequested,     UNKNOWN,  UNKNOWN,  *ASKED),
    (LAUNCHED,     ev.PoolCreationRequested,     FALSE,    FALSE,    *SAME),
    (LAUNCHED,     ev.PoolCreationSubmitted,     UNKNOWN,  UNKNOWN,  *CREATED),
    (LAUNCHED,     ev.PoolCreationSubmitted,     FALSE,    UNKNOWN,  *CREATED),
    (LAUNCHED,     ev.PoolFound,                 UNKNOWN,  UNKNOWN,  *CREATED),
    (LAUNCHED,     ev.PoolFound,                 FALSE,    UNKNOWN,  *CREATED),
    (LAUNCHED,     ev.PoolCreationFailed,        UNKNOWN,  FALSE,    *SAID),
    (LAUNCHED,     ev.PoolCreationFailed,        FALSE,    FALSE,    *SAID),
    (LAUNCHED,     ev.LaunchGivenUp,             FALSE,    FALSE,    "InsufficientCapacity", "{e.message}"),
    (LAUNCHED,     ev.PoolCreationTimedOut,      UNKNOWN,  FALSE,    *TIMED_OUT),
    (LAUNCHED,     ev.MachineLaunchCompleted,    ABSENT,   TRUE,     *FINE),
    (LAUNCHED,     ev.MachineLaunchCompleted,    UNKNOWN,  TRUE,     *FINE),
    (LAUNCHED,     ev.PoolVanished,              UNKNOWN,  FALSE,    *TIMED_OUT),
    (LAUNCHED,     ev.PoolVanished,              TRUE,     FALSE,    *TIMED_OUT),
    (LAUNCHED,     ev.NodeRegistrationTimedOut,  TRUE,     FALSE,    *GIVEN_UP),

    (REGISTERED,   ev.MachineAccepted,           ABSENT,   FALSE,    *NOT_LAUNCHED),
    (REGISTERED,   ev.PoolCreationRequested,     ABSENT,   FALSE,    *NOT_LAUNCHED),
    (REGISTERED,   ev.PoolCreationRequested,     FALSE,    FALSE,    *SAME),
    (REGISTERED,   ev.MachineLaunchCompleted,    ABSENT,   FALSE,    *NO_NODE),
    (REGISTERED,   ev.MachineLaunchCompleted,    FALSE,    FALSE,    *NO_NODE),
    (REGISTERED,   ev.PoolVanished,              FALSE,    FALSE,    *NOT_LAUNCHED),
    (REGISTERED,   ev.PoolVanished,              TRUE,     FALSE,    *NOT_LAUNCHED),
    (REGISTERED,   ev.NodeRegistered,            FALSE,    TRUE,     *FINE),
    (REGISTERED,   ev.NodeRegistered,            TRUE,     TRUE,     *FINE),
    (REGISTERED,   ev.NodesDuplicated,           FALSE,    FALSE,    *TWO_NODES),
    (REGISTERED,   ev.NodesDuplicated,           TRUE,     FALSE,    *TWO_NODES),
    (REGISTERED,   ev.NodeAwaited,               FALSE,    FALSE,    *NO_NODE),
    (REGISTERED,   ev.NodeAwaited,               TRUE,     FALSE,    *NO_NODE),
    (REGISTERED,   ev.NodeRegistrationTimedOut,  FALSE,    FALSE,    *NOT_LAUNCHED),

    (INITIALIZED,  ev.MachineAccepted,           ABSENT,   FALSE,    *NOT_LAUNCHED),
    (INITIALIZED,  ev.PoolCreationRequested,     ABSENT,   FALSE,    *NOT_LAUNCHED),
    (INITIALIZED,  ev.PoolCreationRequested,     FALSE,    FALSE,    *SAME),
    (INITIALIZED,  ev.MachineLaunchCompleted,    ABSENT,   FALSE,    *NO_NODE),
    (INITIALIZED,  ev.MachineLaunchCompleted,    FALSE,    FALSE,    *NO_NODE),
    (INITIALIZED,  ev.PoolVanished,              FALSE,    FALSE,    *NOT_LAUNCHED),
    (INITIALIZED,  ev.PoolVanished,              TRUE,     FALSE,    *NOT_LAUNCHED),
    (INITIALIZED,  ev.NodeRegistered,            FALSE,    FALSE,    *NOT_READY),
    (INITIALIZED,  ev.NodeRegistered,            TRUE,     FALSE,    *NOT_READY),
    (INITIALIZED,  ev.NodesDuplicated,           FALSE,    FALSE,    *NO_NODE),
    (INITIALIZED,  ev.NodesDuplicated,           TRUE,     FALSE,    *NO_NODE),
    (INITIALIZED,  ev.NodeAwaited,               FALSE,    FALSE,    *NO_NODE),
    (INITIALIZED,  ev.NodeInitializationAwaited, FALSE,    FALSE,    *SAID),
    (INITIALIZED,  ev.NodeInitialized,           FALSE,    TRUE,     *FINE),
    (INITIALIZED,  ev.NodeBecameUnready,         FALSE,    FALSE,    *NOT_READY),
    (INITIALIZED,  ev.NodeBecameUnready,         TRUE,     FALSE,    *NOT_READY),
    (INITIALIZED,  ev.NodeRegistrationTimedOut,  FALSE,    FALSE,    *NOT_LAUNCHED),

    (TERMINATING,  ev.TerminationStarted,        ABSENT,   TRUE,     "Terminating",    "{m.left}"),
    (TERMINATING,  ev.DrainStarted,              TRUE,     TRUE,     "Draining",       "{m.left}"),
    (TERMINATING,  ev.DrainBlocked,              TRUE,     TRUE,     "DrainBlocked",   "{m.left}"),
    (TERMINATING,  ev.DrainCompleted,            TRUE,     TRUE,     "Terminating",    "{m.left}"),
    (TERMINATING,  ev.StalePoolFound,            ABSENT,   ABSENT,   *SAME),
    (TERMINATING,  ev.StalePoolFound,            TRUE,     TRUE,     "DeletingPool",   "{m.left}"),
    (TERMINATING,  ev.PoolDeletionRequested,     ABSENT,   ABSENT,   *SAME),
    (TERMINATING,  ev.PoolDeletionRequested,     TRUE,     TRUE,     "DeletingPool",   "{m.left}"),
    (TERMINATING,  ev.PoolDeletionSubmitted,     ABSENT,   ABSENT,   *SAME),
    (TERMINATING,  ev.PoolDeletionSubmitted,     TRUE,     TRUE,     "DeletingPool",   "{m.left}"),
    (TERMINATING,  ev.PoolDeletionFailed,        ABSENT,   ABSENT,   *SAME),
    (TERMINATING,  ev.PoolDeletionFailed,        TRUE,     TRUE,     *SAID),
    (TERMINATING,  ev.PoolRemoved,               ABSENT,   ABSENT,   *SAME),
    (TERMINATING,  ev.PoolRemoved,               TRUE,     TRUE,     "Releasing",      "{m.left}"),
)  # fmt: skip

# Ready, whatever event moved the others: the first row whose needs are met. As published, a False one wins;
# a Machine that is being launched is not ready because it is not launched. Once the object is being deleted
# nothing moves any more.
JointRow = tuple[Mapping[MachineConditionType, ConditionStatus], str, ConditionStatus, str, str]
_ALL_TRUE: Final = {LAUNCHED: TRUE, REGISTERED: TRUE, INITIALIZED: TRUE}
STATE_TRIGGERED: Final[tuple[JointRow, ...]] = (
    # needs                verdict           dest    reason                    message
    ({LAUNCHED: FALSE},    "NotLaunched",    FALSE,  "{m.launched.reason}",    "{m.launched.message}"),
    ({REGISTERED: FALSE},  "NotRegistered",  FALSE,  "{m.registered.reason}",  "{m.registered.message}"),
    ({INITIALIZED: FALSE}, "NotInitialized", FALSE,  "{m.initialized.reason}", "{m.initialized.message}"),
    (_ALL_TRUE,            "AllTrue",        TRUE,   "",                       ""),
)  # fmt: skip

_PHASES: Final = tuple(PoolPhase)
_HELD: Final = (NONE, REQUESTED, CREATING, UP, SPOILED)

# The original's logs tell neither that a creation was accepted nor that a pool is gone, so a launch may
# complete from any phase before it.
PoolRow = tuple[Event, PoolPhase, PoolPhase]
POOL_TRIGGERED: Final[tuple[PoolRow, ...]] = (
    # event                        source     dest
    (ev.MachineSpecRefused,        NONE,      NONE),
    (ev.PoolCreationRequested,     NONE,      REQUESTED),
    (ev.PoolCreationSubmitted,     REQUESTED, CREATING),
    (ev.PoolFound,                 REQUESTED, CREATING),
    (ev.StalePoolFound,            NONE,      SPOILED),
    (ev.StalePoolFound,            REQUESTED, SPOILED),
    (ev.PoolOperationEnded,        CREATING,  CREATING),
    (ev.PoolOperationEnded,        LEAVING,   LEAVING),
    (ev.PoolCreationFailed,        REQUESTED, NONE),
    (ev.PoolCreationFailed,        CREATING,  SPOILED),
    (ev.LaunchGivenUp,             NONE,      NONE),
    (ev.PoolCreationTimedOut,      CREATING,  SPOILED),
    (ev.MachineLaunchCompleted,    NONE,      UP),
    (ev.MachineLaunchCompleted,    REQUESTED, UP),
    (ev.MachineLaunchCompleted,    CREATING,  UP),
    (ev.PoolVanished,              CREATING,  NONE),
    (ev.PoolVanished,              UP,        NONE),
    (ev.NodeRegistered,            UP,        UP),
    (ev.NodesDuplicated,           UP,        UP),
    (ev.NodeAwaited,               UP,        UP),
    (ev.NodeInitializationAwaited, UP,        UP),
    (ev.NodeInitialized,           UP,        UP),
    (ev.NodeBecameUnready,         UP,        UP),
    (ev.NodeBecameReady,           UP,        UP),
    (ev.NodeRegistrationTimedOut,  UP,        SPOILED),
    *((ev.PoolDeletionRequested,   phase,     DOOMED) for phase in _HELD),
    (ev.PoolDeletionSubmitted,     DOOMED,    LEAVING),
    (ev.PoolDeletionFailed,        DOOMED,    DOOMED),
    (ev.PoolDeletionFailed,        LEAVING,   DOOMED),
    (ev.PoolRemoved,               DOOMED,    NONE),
    (ev.PoolRemoved,               LEAVING,   NONE),
    *((ev.MachineRemoved,          phase,     NONE) for phase in _PHASES),
)  # fmt: skip

# Events that are not named here belong to a live Machine and leave it live. An import may begin anywhere.
StageRow = tuple[Event, Stage, Stage]
_BORN, _LIVE, _GOING, _GONE = Stage
STAGE_TRIGGERED: Final[tuple[StageRow, ...]] = (
    # event                      source  dest
    (ev.MachineAccepted,         _BORN,  _LIVE),
    (ev.MachineAccepted,         _GONE,  _LIVE),
    (ev.PoolCreationRequested,   _BORN,  _LIVE),
    (ev.PoolCreationRequested,   _LIVE,  _LIVE),
    (ev.PoolCreationRequested,   _GONE,  _LIVE),
    (ev.MachineLaunchCompleted,  _BORN,  _LIVE),
    (ev.MachineLaunchCompleted,  _LIVE,  _LIVE),
    (ev.MachineLaunchCompleted,  _GONE,  _LIVE),
    (ev.StalePoolFound,          _LIVE,  _LIVE),
    (ev.StalePoolFound,          _GOING, _GOING),
    (ev.PoolDeletionRequested,   _BORN,  _LIVE),
    (ev.PoolDeletionRequested,   _LIVE,  _LIVE),
    (ev.PoolDeletionRequested,   _GOING, _GOING),
    (ev.PoolDeletionRequested,   _GONE,  _GONE),
    (ev.PoolDeletionSubmitted,   _LIVE,  _LIVE),
    (ev.PoolDeletionSubmitted,   _GOING, _GOING),
    (ev.PoolDeletionSubmitted,   _GONE,  _GONE),
    (ev.PoolDeletionFailed,      _LIVE,  _LIVE),
    (ev.PoolDeletionFailed,      _GOING, _GOING),
    (ev.PoolDeletionFailed,      _GONE,  _GONE),
    (ev.PoolOperationEnded,      _LIVE,  _LIVE),
    (ev.PoolOperationEnded,      _GOING, _GOING),
    (ev.PoolOperationEnded,      _GONE,  _GONE),
    (ev.PoolRemoved,             _LIVE,  _LIVE),
    (ev.PoolRemoved,             _GOING, _GOING),
    (ev.PoolRemoved,             _GONE,  _GONE),
    (ev.TerminationStarted,      _LIVE,  _GOING),
    (ev.DrainStarted,            _GOING, _GOING),
    (ev.DrainBlocked,            _GOING, _GOING),
    (ev.DrainCompleted,          _GOING, _GOING),
    (ev.NodeRemoved,             _BORN,  _LIVE),
    (ev.NodeRemoved,             _LIVE,  _LIVE),
    (ev.NodeRemoved,             _GOING, _GOING),
    (ev.NodeRemoved,             _GONE,  _GONE),
    (ev.MachineReleased,         _GOING, _GOING),
    (ev.MachineRemoved,          _BORN,  _GONE),
    (ev.MachineRemoved,          _LIVE,  _GONE),
    (ev.MachineRemoved,          _GOING, _GONE),
    (ev.MachineRemoved,          _GONE,  _GONE),
    (ev.MachineVanished,         _LIVE,  _GONE),
    (ev.MachineVanished,         _GOING, _GONE),
)  # fmt: skip


def _condition_machine(condition: MachineConditionType) -> transitions.Machine:
    found = [(row[1].__name__, row[2], row[3]) for row in EVENT_TRIGGERED if row[0] is condition]
    if condition is READY:
        found = [(row[1], source, row[2]) for row in STATE_TRIGGERED for source in ConditionStatus]
    return rows.define(condition, ConditionStatus, found)


def stage_rows() -> list[StageRow]:
    """The rows of the stage, with those that are not written because they leave a live Machine live."""
    named = {row[0] for row in STAGE_TRIGGERED}
    live = [(event, Stage.LIVE, Stage.LIVE) for event in ev.MACHINE_EVENTS if event not in named]
    return [*STAGE_TRIGGERED, *live]


MACHINES: Final[dict[str, transitions.Machine]] = {
    **{condition.value: _condition_machine(condition) for condition in MachineConditionType},
    "Pool": rows.define(
        "Pool", [p.name for p in PoolPhase], [(e.__name__, s.name, d.name) for e, s, d in POOL_TRIGGERED]
    ),
    "Stage": rows.define("Stage", Stage, [(e.__name__, s, d) for e, s, d in stage_rows()]),
}
"""The definition, by condition type, and ``Pool`` and ``Stage``."""


def fire(machine: str, state: str, trigger: str) -> str | None:
    """Fire one trigger on a throw-away cell; None when the machine names it in no row.

    Raises:
        IllegalTransition: The machine names the trigger, but not in this state.
    """
    return rows.fire(MACHINES[machine], machine, state, trigger)


class Compiled(NamedTuple):
    """Everything the tables say about one event type."""

    stages: dict[Stage, Stage]
    phases: dict[PoolPhase, PoolPhase]
    conditions: tuple[tuple[str, dict[ConditionStatus, Move]], ...]
    """By the name of the field of `state.Machine` that holds the condition."""


FIELDS: Final[dict[MachineConditionType, str]] = {
    LAUNCHED: "launched",
    REGISTERED: "registered",
    INITIALIZED: "initialized",
    READY: "ready",
    TERMINATING: "terminating",
}


def _moves(condition: MachineConditionType, event: Event) -> dict[ConditionStatus, Move]:
    texts = {row[2]: row[4:] for row in EVENT_TRIGGERED if row[:2] == (condition, event)}
    dests = dict(rows.destinations(MACHINES[condition], event.__name__))
    return {source: Move.of(ConditionStatus(dests[source]), *texts[source], names="e, m") for source in texts}


def _compile(event: Event) -> Compiled:
    name = event.__name__
    conditions = [(FIELDS[condition], _moves(condition, event)) for condition in MachineConditionType]
    pool, stage = rows.destinations(MACHINES["Pool"], name), rows.destinations(MACHINES["Stage"], name)
    return Compiled(
        stages={Stage(source): Stage(dest) for source, dest in stage},
        phases={PoolPhase[source]: PoolPhase[dest] for source, dest in pool},
        conditions=tuple((field, moves) for field, moves in conditions if moves),
    )


COMPILED: Final[dict[Event, Compiled]] = {event: _compile(event) for event in ev.MACHINE_EVENTS}
