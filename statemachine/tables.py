"""The state machine: every transition of a Workspace, and the one function that reads the tables.

A Workspace is several small machines that see the same events. Its *stage* is the object's own life. Each
*condition* is a machine over Absent, Unknown, False and True. Each *slot* is a machine over how far its node
is. WorkspaceReady alone has no events of its own: the joint rows derive it from the others.

A row is (machine, event, source, dest, reason, message). A machine sees the events its rows name: in a source
they do not list, such an event is illegal; events it does not name pass by. Reason and message are templates
over ``e`` (the event) and ``w`` (the Workspace with the event's other effects applied); KEEP leaves both.
Guards are not here: `detection` and `decision` decide which events happen.

The machines are defined with `transitions`, fired on a throw-away cell (`fire`). The fold reads `COMPILED`,
made from those machines at import, because firing costs some 6 µs and a look-up 0.06 µs; a test walks
machine × state × event and shows that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import transitions

from statemachine import events as ev
from statemachine import rows
from statemachine.rows import Move, Template
from statemachine.state import ConditionStatus, ConditionType, SlotPhase, Stage

ABSENT, UNKNOWN, FALSE, TRUE = ConditionStatus
MACHINE_READY, RESOURCE_READY, INFERENCE_READY, WORKSPACE_READY, WORKSPACE_DELETING = ConditionType
FREE, REQUESTED, CREATED, LAUNCHED, READY, USABLE = SlotPhase

KEEP: Final = None
"""In place of a reason: reason and message stay as they are."""

Event = type[ev.WorkspaceEvent]
ConditionRow = tuple[ConditionType, Event, ConditionStatus, ConditionStatus, Template, str]

PENDING: Final = "CreateMachinePending"
CREATING: Final = "creating {w.missing} machines"
STARTING: Final = "the workload is starting"
RESOURCE_FAILED: Final = "workspaceResourceStatusFailed"
INFERENCE_PENDING: Final = "WorkspaceInferenceStatusPending"
INFERENCE_FAILED: Final = "WorkspaceInferenceStatusFailed"
TIMED_OUT: Final = "check machine status timed out. machine {e.machine} is not ready"
SLOW: Final = (
    "machine {e.machine} is not ready after {e.elapsed_seconds:.0f} s; usually half are ready within "
    "{w.limits.machine_usual_p50:.0f} s and 95 % within {w.limits.machine_usual_p95:.0f} s"
)
DELETING: Final = "workspace is being deleted{w.left}"

# Strings of the published API stand for the situations it names, in its own spelling. Reasons it lacks:
# MachinePending, MachineProvisioningSlow, the BlockedReasons, MachineLost, NodeNotReady, ResourcePending, and
# from its later releases WorkspaceInferenceStatusPending, workspacePending and the InferenceReasons.
#
# MachineReady speaks of all slots: trouble in one makes it False, and it leaves False only by the verdicts
# ProvisioningResumed (no slot in trouble) and NodePluginsInstalled (all slots usable). It names the latest
# trouble; when that one is over and another is not, the other is recorded again.
EVENT_TRIGGERED: Final[tuple[ConditionRow, ...]] = (
    # condition          event                          source    dest      reason                           message
    (MACHINE_READY,      ev.WorkspaceCreated,           ABSENT,   UNKNOWN,  "MachinePending",                "waiting for nodes"),
    (MACHINE_READY,      ev.WorkspaceAdopted,           ABSENT,   UNKNOWN,  "MachinePending",                "waiting for nodes"),
    (MACHINE_READY,      ev.WorkspaceRestored,          UNKNOWN,  UNKNOWN,  "MachinePending",                "waiting for nodes"),
    (MACHINE_READY,      ev.WorkspaceRestored,          FALSE,    UNKNOWN,  "MachinePending",                "waiting for nodes"),
    (MACHINE_READY,      ev.WorkspaceRestored,          TRUE,     UNKNOWN,  "MachinePending",                "waiting for nodes"),
    (MACHINE_READY,      ev.MachineRequested,           UNKNOWN,  UNKNOWN,  PENDING,                         CREATING),
    (MACHINE_READY,      ev.MachineRequested,           FALSE,    FALSE,    KEEP,                            ""),
    (MACHINE_READY,      ev.MachineCreationRefused,     UNKNOWN,  FALSE,    "machineFailedCreation",         "{e.message}"),
    (MACHINE_READY,      ev.MachineCreationRefused,     FALSE,    FALSE,    "machineFailedCreation",         "{e.message}"),
    (MACHINE_READY,      ev.MachineLaunchFailed,        UNKNOWN,  FALSE,    "{e.reason}",                    "{e.message}"),
    (MACHINE_READY,      ev.MachineLaunchFailed,        FALSE,    FALSE,    "{e.reason}",                    "{e.message}"),
    (MACHINE_READY,      ev.MachineWaitSlowed,          UNKNOWN,  UNKNOWN,  "MachineProvisioningSlow",       SLOW),
    (MACHINE_READY,      ev.MachineWaitSlowed,          FALSE,    FALSE,    KEEP,                            ""),
    (MACHINE_READY,      ev.MachineWaitTimedOut,        UNKNOWN,  FALSE,    "checkMachineStatusFailed",      TIMED_OUT),
    (MACHINE_READY,      ev.MachineWaitTimedOut,        FALSE,    FALSE,    "checkMachineStatusFailed",      TIMED_OUT),
    (MACHINE_READY,      ev.MachineLost,                UNKNOWN,  UNKNOWN,  KEEP,                            ""),
    (MACHINE_READY,      ev.MachineLost,                FALSE,    FALSE,    KEEP,                            ""),
    (MACHINE_READY,      ev.MachineLost,                TRUE,     FALSE,    "MachineLost",                   "machine {e.machine} is {e.cause}"),
    (MACHINE_READY,      ev.NodeLost,                   UNKNOWN,  UNKNOWN,  KEEP,                            ""),
    (MACHINE_READY,      ev.NodeLost,                   FALSE,    FALSE,    "NodeNotReady",                  "node {e.node} is {e.cause}"),
    (MACHINE_READY,      ev.NodeLost,                   TRUE,     FALSE,    "NodeNotReady",                  "node {e.node} is {e.cause}"),
    (MACHINE_READY,      ev.NodePluginsInstalled,       UNKNOWN,  TRUE,     "installNodePluginsSuccess",     "machines plugins have been installed successfully"),
    (MACHINE_READY,      ev.NodePluginsInstalled,       FALSE,    TRUE,     "installNodePluginsSuccess",     "machines plugins have been installed successfully"),
    (MACHINE_READY,      ev.ProvisioningResumed,        FALSE,    UNKNOWN,  PENDING,                         CREATING),

    (RESOURCE_READY,     ev.WorkspaceCreated,           ABSENT,   UNKNOWN,  "ResourcePending",               "waiting for nodes"),
    (RESOURCE_READY,     ev.WorkspaceAdopted,           ABSENT,   UNKNOWN,  "ResourcePending",               "waiting for nodes"),
    (RESOURCE_READY,     ev.WorkspaceRestored,          UNKNOWN,  UNKNOWN,  "ResourcePending",               "waiting for nodes"),
    (RESOURCE_READY,     ev.WorkspaceRestored,          FALSE,    UNKNOWN,  "ResourcePending",               "waiting for nodes"),
    (RESOURCE_READY,     ev.WorkspaceRestored,          TRUE,     UNKNOWN,  "ResourcePending",               "waiting for nodes"),
    (RESOURCE_READY,     ev.MachineCreationRefused,     UNKNOWN,  FALSE,    RESOURCE_FAILED,                 "{e.message}"),
    (RESOURCE_READY,     ev.MachineCreationRefused,     FALSE,    FALSE,    RESOURCE_FAILED,                 "{e.message}"),
    (RESOURCE_READY,     ev.MachineLaunchFailed,        UNKNOWN,  FALSE,    RESOURCE_FAILED,                 "{e.message}"),
    (RESOURCE_READY,     ev.MachineLaunchFailed,        FALSE,    FALSE,    RESOURCE_FAILED,                 "{e.message}"),
    (RESOURCE_READY,     ev.MachineWaitTimedOut,        UNKNOWN,  FALSE,    RESOURCE_FAILED,                 TIMED_OUT),
    (RESOURCE_READY,     ev.MachineWaitTimedOut,        FALSE,    FALSE,    RESOURCE_FAILED,                 TIMED_OUT),
    (RESOURCE_READY,     ev.MachineLost,                UNKNOWN,  UNKNOWN,  KEEP,                            ""),
    (RESOURCE_READY,     ev.MachineLost,                FALSE,    FALSE,    KEEP,                            ""),
    (RESOURCE_READY,     ev.MachineLost,                TRUE,     FALSE,    RESOURCE_FAILED,                 "machine {e.machine} is {e.cause}"),
    (RESOURCE_READY,     ev.NodeLost,                   UNKNOWN,  UNKNOWN,  KEEP,                            ""),
    (RESOURCE_READY,     ev.NodeLost,                   FALSE,    FALSE,    RESOURCE_FAILED,                 "node {e.node} is {e.cause}"),
    (RESOURCE_READY,     ev.NodeLost,                   TRUE,     FALSE,    RESOURCE_FAILED,                 "node {e.node} is {e.cause}"),
    (RESOURCE_READY,     ev.ProvisioningResumed,        FALSE,    UNKNOWN,  "ResourcePending",               "waiting for {w.waiting} nodes"),
    (RESOURCE_READY,     ev.WorkerNodesChosen,          UNKNOWN,  TRUE,     "workspaceResourceStatusSuccess", "workspace resource is ready"),
    (RESOURCE_READY,     ev.WorkerNodesChosen,          FALSE,    TRUE,     "workspaceResourceStatusSuccess", "workspace resource is ready"),
    (RESOURCE_READY,     ev.WorkerNodesChosen,          TRUE,     TRUE,     KEEP,                            ""),

    (INFERENCE_READY,    ev.WorkspaceCreated,           ABSENT,   UNKNOWN,  INFERENCE_PENDING,               "waiting for resources"),
    (INFERENCE_READY,    ev.WorkspaceAdopted,           ABSENT,   UNKNOWN,  INFERENCE_PENDING,               "waiting for resources"),
    (INFERENCE_READY,    ev.WorkspaceRestored,          UNKNOWN,  UNKNOWN,  INFERENCE_PENDING,               "waiting for resources"),
    (INFERENCE_READY,    ev.WorkspaceRestored,          FALSE,    UNKNOWN,  INFERENCE_PENDING,               "waiting for resources"),
    (INFERENCE_READY,    ev.WorkspaceRestored,          TRUE,     UNKNOWN,  INFERENCE_PENDING,               "waiting for resources"),
    (INFERENCE_READY,    ev.SpecChanged,                UNKNOWN,  UNKNOWN,  KEEP,                            ""),
    (INFERENCE_READY,    ev.SpecChanged,                FALSE,    UNKNOWN,  INFERENCE_PENDING,               "waiting for resources"),
    (INFERENCE_READY,    ev.SpecChanged,                TRUE,     TRUE,     KEEP,                            ""),
    (INFERENCE_READY,    ev.SpecRefused,                UNKNOWN,  FALSE,    INFERENCE_FAILED,                "{e.message}"),
    (INFERENCE_READY,    ev.SpecRefused,                FALSE,    FALSE,    INFERENCE_FAILED,                "{e.message}"),
    (INFERENCE_READY,    ev.SpecRefused,                TRUE,     FALSE,    INFERENCE_FAILED,                "{e.message}"),
    (INFERENCE_READY,    ev.WorkerNodesChosen,          UNKNOWN,  UNKNOWN,  INFERENCE_PENDING,               "{w.served}"),
    (INFERENCE_READY,    ev.WorkerNodesChosen,          FALSE,    FALSE,    KEEP,                            ""),
    (INFERENCE_READY,    ev.WorkerNodesChosen,          TRUE,     TRUE,     KEEP,                            ""),
    (INFERENCE_READY,    ev.WorkloadCreated,            UNKNOWN,  UNKNOWN,  INFERENCE_PENDING,               "{w.served}"),
    (INFERENCE_READY,    ev.WorkloadCreated,            FALSE,    UNKNOWN,  INFERENCE_PENDING,               STARTING),
    (INFERENCE_READY,    ev.WorkloadLost,               UNKNOWN,  UNKNOWN,  INFERENCE_PENDING,               "{e.kind} {e.name} is gone and will be created again"),
    (INFERENCE_READY,    ev.WorkloadLost,               FALSE,    UNKNOWN,  INFERENCE_PENDING,               "{e.kind} {e.name} is gone and will be created again"),
    (INFERENCE_READY,    ev.WorkloadLost,               TRUE,     UNKNOWN,  INFERENCE_PENDING,               "{e.kind} {e.name} is gone and will be created again"),
    (INFERENCE_READY,    ev.InferenceProgressed,        UNKNOWN,  UNKNOWN,  INFERENCE_PENDING,               "{e.message}"),
    (INFERENCE_READY,    ev.InferenceProgressed,        FALSE,    UNKNOWN,  INFERENCE_PENDING,               "{e.message}"),
    (INFERENCE_READY,    ev.InferenceTroubled,          UNKNOWN,  FALSE,    "{e.reason}",                    "{e.message}"),
    (INFERENCE_READY,    ev.InferenceTroubled,          FALSE,    FALSE,    "{e.reason}",                    "{e.message}"),
    (INFERENCE_READY,    ev.InferenceWaitTimedOut,      UNKNOWN,  FALSE,    INFERENCE_FAILED,                "context deadline exceeded"),
    (INFERENCE_READY,    ev.InferenceBecameReady,       UNKNOWN,  TRUE,     "WorkspaceInferenceStatusSuccess", "Inference has been deployed successfully"),
    (INFERENCE_READY,    ev.InferenceBecameReady,       FALSE,    TRUE,     "WorkspaceInferenceStatusSuccess", "Inference has been deployed successfully"),
    (INFERENCE_READY,    ev.InferenceDegraded,          TRUE,     FALSE,    "{e.reason}",                    "{e.message}"),

    (WORKSPACE_DELETING, ev.WorkspaceDeletionRequested, ABSENT,   TRUE,     "workspaceDeleted",              DELETING),
    (WORKSPACE_DELETING, ev.WorkspaceRestored,          ABSENT,   ABSENT,   "",                              ""),
    (WORKSPACE_DELETING, ev.WorkspaceRestored,          TRUE,     ABSENT,   "",                              ""),
    (WORKSPACE_DELETING, ev.MachineAdopted,             ABSENT,   ABSENT,   KEEP,                            ""),
    (WORKSPACE_DELETING, ev.MachineAdopted,             TRUE,     TRUE,     "workspaceDeleted",              DELETING),
    (WORKSPACE_DELETING, ev.MachineDeleted,             ABSENT,   ABSENT,   KEEP,                            ""),
    (WORKSPACE_DELETING, ev.MachineDeleted,             TRUE,     TRUE,     "workspaceDeleted",              DELETING),
)  # fmt: skip

# WorkspaceReady, whatever event moved the others: the first row whose needs are met. Once the object is being
# deleted nothing moves any more, as published.
JointRow = tuple[Mapping[ConditionType, ConditionStatus], str, ConditionStatus, str, str]
STATE_TRIGGERED: Final[tuple[JointRow, ...]] = (
    # needs                                            verdict              dest     reason              message
    ({RESOURCE_READY: FALSE},                          "ResourceFailed",    FALSE,   "workspaceFailed",  "{w.resource_ready.message}"),
    ({INFERENCE_READY: FALSE},                         "InferenceFailed",   FALSE,   "workspaceFailed",  "{w.inference_ready.message}"),
    ({RESOURCE_READY: TRUE, INFERENCE_READY: TRUE},    "AllReady",          TRUE,    "workspaceReady",   "workspace is ready"),
    ({RESOURCE_READY: UNKNOWN},                        "ResourceAwaited",   UNKNOWN, "workspacePending", "waiting for resources"),
    ({INFERENCE_READY: UNKNOWN},                       "InferenceAwaited",  UNKNOWN, "workspacePending", "waiting for inference"),
)  # fmt: skip

SlotRow = tuple[Event, SlotPhase, SlotPhase]
SLOT_TRIGGERED: Final[tuple[SlotRow, ...]] = (
    # event                      source     dest
    (ev.NodeAssigned,            FREE,      READY),
    (ev.MachineRequested,        FREE,      REQUESTED),
    (ev.MachineRequested,        REQUESTED, REQUESTED),  # refused, then asked for under a new name: Kaito's way
    (ev.MachineAdopted,          FREE,      CREATED),
    (ev.MachineCreated,          REQUESTED, CREATED),
    (ev.MachineCreationRefused,  REQUESTED, REQUESTED),
    (ev.MachineLaunched,         CREATED,   LAUNCHED),
    (ev.MachineLaunchFailed,     CREATED,   CREATED),
    (ev.MachineLaunchFailed,     LAUNCHED,  LAUNCHED),
    (ev.MachineLaunchResumed,    CREATED,   CREATED),
    (ev.MachineLaunchResumed,    LAUNCHED,  LAUNCHED),
    (ev.MachineWaitSlowed,       REQUESTED, REQUESTED),
    (ev.MachineWaitSlowed,       CREATED,   CREATED),
    (ev.MachineWaitSlowed,       LAUNCHED,  LAUNCHED),
    (ev.MachineWaitSlowed,       READY,     READY),
    (ev.MachineWaitTimedOut,     REQUESTED, REQUESTED),
    (ev.MachineWaitTimedOut,     CREATED,   CREATED),
    (ev.MachineWaitTimedOut,     LAUNCHED,  LAUNCHED),
    (ev.MachineWaitTimedOut,     READY,     READY),
    (ev.MachineBecameReady,      CREATED,   READY),
    (ev.MachineBecameReady,      LAUNCHED,  READY),
    (ev.MachineBecameReady,      READY,     READY),
    (ev.NodeBecameUsable,        READY,     USABLE),
    (ev.NodeLost,                USABLE,    READY),
    (ev.NodeLost,                READY,     READY),
    (ev.NodeReleased,            READY,     FREE),
    (ev.MachineLost,             CREATED,   FREE),
    (ev.MachineLost,             LAUNCHED,  FREE),
    (ev.MachineLost,             READY,     FREE),
    (ev.MachineLost,             USABLE,    FREE),
    (ev.MachineDeleted,          REQUESTED, FREE),
    (ev.MachineDeleted,          CREATED,   FREE),
    (ev.MachineDeleted,          LAUNCHED,  FREE),
    (ev.MachineDeleted,          READY,     FREE),
    (ev.MachineDeleted,          USABLE,    FREE),
)  # fmt: skip

# Events that are not named here belong to a live Workspace and leave it live.
StageRow = tuple[Event, Stage, Stage]
STAGE_TRIGGERED: Final[tuple[StageRow, ...]] = (
    # event                          source          dest
    (ev.WorkspaceCreated,            Stage.ABSENT,   Stage.LIVE),
    (ev.WorkspaceAdopted,            Stage.ABSENT,   Stage.LIVE),
    (ev.WorkspaceDeletionRequested,  Stage.LIVE,     Stage.DELETING),
    (ev.WorkspaceDeleted,            Stage.LIVE,     Stage.GONE),
    (ev.WorkspaceDeleted,            Stage.DELETING, Stage.GONE),
    (ev.WorkspaceRestored,           Stage.DELETING, Stage.LIVE),
    (ev.WorkspaceRestored,           Stage.GONE,     Stage.LIVE),
    (ev.WorkspaceReleased,           Stage.DELETING, Stage.DELETING),
    (ev.MachineAdopted,              Stage.LIVE,     Stage.LIVE),
    (ev.MachineAdopted,              Stage.DELETING, Stage.DELETING),
    (ev.MachineAdopted,              Stage.GONE,     Stage.GONE),
    (ev.MachineDeletionRequested,    Stage.DELETING, Stage.DELETING),
    (ev.MachineDeletionRequested,    Stage.GONE,     Stage.GONE),
    (ev.MachineDeleted,              Stage.DELETING, Stage.DELETING),
    (ev.MachineDeleted,              Stage.GONE,     Stage.GONE),
)  # fmt: skip


def _condition_machine(condition: ConditionType) -> transitions.Machine:
    found = [(row[1].__name__, row[2], row[3]) for row in EVENT_TRIGGERED if row[0] is condition]
    if condition is WORKSPACE_READY:
        found = [(row[1], source, row[2]) for row in STATE_TRIGGERED for source in ConditionStatus]
    return rows.define(condition, ConditionStatus, found)


def _stage_rows() -> list[StageRow]:
    named = {row[0] for row in STAGE_TRIGGERED}
    live = [(event, Stage.LIVE, Stage.LIVE) for event in ev.WORKSPACE_EVENTS if event not in named]
    return [*STAGE_TRIGGERED, *live]


MACHINES: Final[dict[str, transitions.Machine]] = {
    **{condition.value: _condition_machine(condition) for condition in ConditionType},
    "Slot": rows.define("Slot", [p.name for p in SlotPhase], [(e.__name__, s.name, d.name) for e, s, d in SLOT_TRIGGERED]),
    "Stage": rows.define("Stage", Stage, [(e.__name__, s, d) for e, s, d in _stage_rows()]),
}  # fmt: skip
"""The definition, by condition type, and ``Slot`` and ``Stage``."""


def fire(machine: str, state: str, trigger: str) -> str | None:
    """Fire one trigger on a throw-away cell through `transitions`.

    Returns:
        The state it leads to; None when the machine does not name this trigger in any row.

    Raises:
        IllegalTransition: The machine names the trigger, but not in this state.
    """
    return rows.fire(MACHINES[machine], machine, state, trigger)


class Compiled(NamedTuple):
    """Everything the tables say about one event type."""

    stages: dict[Stage, Stage]
    phases: dict[SlotPhase, SlotPhase]
    conditions: tuple[tuple[str, dict[ConditionStatus, Move]], ...]
    """By the name of the field of `state.Workspace` that holds the condition."""


FIELDS: Final[dict[ConditionType, str]] = {
    MACHINE_READY: "machine_ready",
    RESOURCE_READY: "resource_ready",
    INFERENCE_READY: "inference_ready",
    WORKSPACE_READY: "workspace_ready",
    WORKSPACE_DELETING: "workspace_deleting",
}


def _moves(condition: ConditionType, event: Event) -> dict[ConditionStatus, Move]:
    """The compiled row set of one condition for one event, destinations as `transitions` knows them."""
    texts = {row[2]: row[4:] for row in EVENT_TRIGGERED if row[:2] == (condition, event)}
    dests = {
        ConditionStatus(source): dest
        for source, dest in rows.destinations(MACHINES[condition], event.__name__)
    }
    return {source: Move.of(ConditionStatus(dests[source]), *texts[source]) for source in texts}


def _compile(event: Event) -> Compiled:
    name = event.__name__
    conditions = [(FIELDS[condition], _moves(condition, event)) for condition in ConditionType]
    return Compiled(
        stages={Stage(source): Stage(dest) for source, dest in rows.destinations(MACHINES["Stage"], name)},
        phases={
            SlotPhase[source]: SlotPhase[dest] for source, dest in rows.destinations(MACHINES["Slot"], name)
        },
        conditions=tuple((field, moves) for field, moves in conditions if moves),
    )


COMPILED: Final[dict[Event, Compiled]] = {event: _compile(event) for event in ev.WORKSPACE_EVENTS}
