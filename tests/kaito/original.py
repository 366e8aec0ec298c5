"""The published controller as a writer of log lines: what it would have logged for given Workspaces.

Follows its order of steps and its fixed pauses: one second after a create, a wait of 240 s, a retry at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2024, 4, 5, 18, 30, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
WAIT = timedelta(seconds=240, milliseconds=160)
Line = tuple[datetime, str]


@dataclass(frozen=True)
class Given:
    """One Workspace: when it comes, and each Machine with the seconds until it is ready."""

    name: str
    machines: tuple[tuple[str, float], ...]
    namespace: str = "default"
    after: float = 0.0
    inference: float = 700.0
    deleted_after: float | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def node_of(machine: str) -> str:
    return f"aks-{machine}-41071934-vmss000000"


def klog(at: datetime, message: str, /, **fields: object) -> Line:
    pairs = "".join(f' {k}="{v}"' if isinstance(v, str) else f" {k}={v}" for k, v in fields.items())
    return at, f'I{at:%m%d %H:%M:%S.%f}       1 controller.go:60] "{message}"{pairs}'


def admitted(at: datetime, namespace: str, name: str, operation: str = "CREATE") -> Line:
    text = (
        f'{{"severity":"INFO","timestamp":"{at:%Y-%m-%dT%H:%M:%S.%f}123Z","logger":"webhook",'
        '"message":"remote admission controller audit annotations=map[string]string(nil)",'
        f'"knative.dev/kind":"kaito.sh/v1alpha1, Kind=Workspace","knative.dev/namespace":"{namespace}",'
        f'"knative.dev/name":"{name}","knative.dev/operation":"{operation}","knative.dev/subresource":"",'
        '"admissionreview/allowed":true}'
    )
    return at, text


def reconciler_error(at: datetime, namespace: str, name: str, error: str) -> list[Line]:
    head = (
        f'{at:%Y-%m-%dT%H:%M:%SZ}\tERROR\tReconciler error\t{{"controller": "workspace", '
        f'"namespace": "{namespace}", "name": "{name}", "error": "{error}"}}'
    )
    frames = ("sigs.k8s.io/controller-runtime/pkg/internal/controller.(*Controller).reconcileHandler",
              "\t/go/pkg/mod/sigs.k8s.io/controller-runtime@v0.15.2/controller.go:324")  # fmt: skip
    return [(at, "\n".join((head, *frames)))]


def condition(at: datetime, given: Given, kind: str, status: str, reason: str, message: str) -> Line:
    return klog(
        at, "updateStatusCondition",
        workspace=given.key, conditionType=kind, status=status, reason=reason, message=message,
    )  # fmt: skip


@dataclass
class _Writer:
    given: Given
    now: datetime
    lines: list[Line] = field(default_factory=list)

    def step(self, message: str, /, **fields: object) -> None:
        self.now += MILLISECOND
        self.lines.append(klog(self.now, message, **fields))

    def status(self, kind: str, status: str, reason: str, message: str) -> None:
        self.now += 5 * MILLISECOND
        self.lines.append(condition(self.now, self.given, kind, status, reason, message))

    def create(self, machine: str, seconds: float) -> None:
        self.step("CreateMachine", machine=f"{self.given.namespace}/{machine}")
        ready = self.now + timedelta(seconds=seconds)
        self.now += timedelta(seconds=1)
        while not self.wait(machine, ready):
            pass
        self.step("machine status is ready", machine=machine)

    def wait(self, machine: str, ready: datetime) -> bool:
        """Whether the Machine was ready in time; else the pass fails and the next one begins its wait."""
        self.step("CheckMachineStatus", machine=machine)
        if ready <= self.now + WAIT:
            self.now = max(self.now, ready)
            return True
        self.now += WAIT
        text = f"check machine status timed out. machine {machine} is not ready"
        self.status("MachineReady", "False", "checkMachineStatusFailed", text)
        self.status("ResourceReady", "False", "workspaceResourceStatusFailed", text)
        self.status("WorkspaceReady", "False", "workspaceFailed", text)
        self.lines += reconciler_error(self.now, self.given.namespace, self.given.name, text)
        self.step("Reconciling", workspace=self.given.key)
        return False


def log_of(given: Given) -> list[Line]:
    """The lines about one Workspace, in order of time."""
    writer = _Writer(given, START + timedelta(seconds=given.after))
    writer.lines.append(admitted(writer.now, given.namespace, given.name))
    writer.step("Reconciling", workspace=given.key)
    _provision(writer)
    for machine, _ in given.machines:
        writer.step("UpdateNodeWithLabel", nodeName=node_of(machine), labelKey="accelerator")
        writer.now += timedelta(seconds=1)
    writer.status("MachineReady", "True", "installNodePluginsSuccess", "plugins are installed")
    writer.step("updateStatusNodeList", workspace=given.key)
    writer.status("ResourceReady", "True", "workspaceResourceStatusSuccess", "workspace resource is ready")
    writer.step("CreateService", service=given.key)
    writer.step("CreateDeployment", deployment=given.key)
    writer.now += timedelta(seconds=given.inference)
    writer.step("deployment status is ready", deployment=given.name)
    writer.status("InferenceReady", "True", "WorkspaceInferenceStatusSuccess", "deployed")
    writer.status("WorkspaceReady", "True", "workspaceReady", "workspace is ready")
    if given.deleted_after is not None:
        writer.now += timedelta(seconds=given.deleted_after)
        for message in (
            "deleteWorkspace",
            "garbageCollectWorkspace",
            "successfully removed the workspace finalizers",
        ):
            writer.step(message, workspace=given.key)
    return writer.lines


def _provision(writer: _Writer) -> None:
    """A pass announces what is missing; after a wait that failed, the next pass announces again."""
    announced = False
    for index, (machine, seconds) in enumerate(writer.given.machines):
        missing = len(writer.given.machines) - index
        if not announced:
            if index == 0:
                writer.step("no current nodes match the workspace resource spec", workspace=writer.given.key)
            writer.step("need to create more nodes", NodeCount=missing)
            writer.status("MachineReady", "Unknown", "CreateMachinePending", f"creating {missing} machines")
        before = len(writer.lines)
        writer.create(machine, seconds)
        announced = not any("timed out" in text for _, text in writer.lines[before:])


def merge(logs: Iterable[list[Line]]) -> str:
    """One stream of all lines, in order of time."""
    lines = sorted((line for log in logs for line in log), key=lambda line: line[0])
    return "".join(f"{text}\n" for _, text in lines)
