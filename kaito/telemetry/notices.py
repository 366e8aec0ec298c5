"""An event of the log as an Event of Kubernetes (core/v1) about its Workspace or Machine.

The name of an Event follows from the place of the event in the log. So what is told once more after a crash
is answered with AlreadyExists, and never stands there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from threading import Lock
from typing import Any

import msgspec

from kaito.history.sentences import describe
from kaito.runtime.keys import STREAM_PREFIX as WORKSPACE_PREFIX
from kaito.runtime.machines.keys import STREAM_PREFIX as MACHINE_PREFIX
from kaito.runtime.ports import MACHINES, WORKSPACES, Object, Resource
from kaito.telemetry.correlation import Latest
from kaito.telemetry.reasons import Rule, reason_of
from statemachine.machine import events as mev
from store.records import StoredEvent

EVENTS = Resource("", "v1", "events", "Event")

CLUSTER_NAMESPACE = "default"
"""Where Events about objects without a namespace are kept."""

MOST_MESSAGE = 1024
"""Characters; the API refuses more."""

MOST_NAME = 253
_HASH_DIGITS = 16

_SPEAKER = "Provisioner: "
"""How a sentence about a Machine begins in a Workspace's history; an Event names its speaker by itself."""


class About(msgspec.Struct, frozen=True):
    """The object that an Event is about."""

    resource: Resource
    name: str
    namespace: str
    uid: str

    @property
    def home(self) -> str:
        """The namespace of the Event."""
        return self.namespace or CLUSTER_NAMESPACE

    def reference(self) -> Object:
        found = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "name": self.name,
            "namespace": self.namespace,
            "uid": self.uid,
        }
        return {field: value for field, value in found.items() if value}


class Notice(msgspec.Struct, frozen=True):
    """One event that is to be told, as it was appended."""

    about: About
    stream: str
    version: int
    event: StoredEvent
    rule: Rule

    @property
    def reason(self) -> str:
        return reason_of(self.rule, self.event).value

    @property
    def message(self) -> str:
        text = " ".join(describe(self.event).removeprefix(_SPEAKER).split())
        text = text[:1].upper() + text[1:]
        return text if len(text) <= MOST_MESSAGE else text[: MOST_MESSAGE - 1] + "…"

    @property
    def name(self) -> str:
        """``<object>.<hash of stream and version>``, a valid name of any object."""
        digits = sha256(f"{self.stream} {self.version}".encode()).hexdigest()[:_HASH_DIGITS]
        return f"{self.about.name[: MOST_NAME - _HASH_DIGITS - 1].rstrip('.-')}.{digits}"

    @property
    def time(self) -> str:
        """When it happened, in whole seconds, as the API keeps them."""
        return f"{self.event.at:%Y-%m-%dT%H:%M:%SZ}"


def about_workspace(stream: str, event: StoredEvent) -> About | None:
    """The Workspace whose stream this is, every part of it known from the name; None for another stream."""
    parts = stream.removeprefix(WORKSPACE_PREFIX).split("/", 2)
    if not stream.startswith(WORKSPACE_PREFIX) or len(parts) != 3:
        return None
    namespace, name, uid = parts
    return About(WORKSPACES, name, namespace, uid)


def about_machine(uid_of: Callable[[str], str]) -> Callable[[str, StoredEvent], About | None]:
    """The same for Machines, whose streams do not tell the UID: each life begins with an event that does.

    Args:
        uid_of: For a stream whose life began before this process did.
    """
    begun: Latest[str] = Latest()
    lock = Lock()  # workers append at the same time

    def about(stream: str, event: StoredEvent) -> About | None:
        if not stream.startswith(MACHINE_PREFIX):
            return None
        with lock:
            if isinstance(event, mev.MachineAccepted):
                begun.put(stream, event.uid)
            uid = begun.get(stream) or uid_of(stream)
        return About(MACHINES, stream.removeprefix(MACHINE_PREFIX), "", uid)

    return about


def body(notice: Notice, component: str, instance: str) -> Object:
    """The Event as it is first created."""
    found: dict[str, Any] = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": notice.name, "namespace": notice.about.home},
        "involvedObject": notice.about.reference(),
        "type": notice.rule.type,
        "reason": notice.reason,
        "message": notice.message,
        "count": 1,
        "firstTimestamp": notice.time,
        "lastTimestamp": notice.time,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": instance,
    }
    return found
