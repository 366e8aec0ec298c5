"""Runs a program on one server, a call at a time, and tells what the server answered.

It remembers what it was told, for calls that speak of it: each server has versions and UIDs of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from kaito.runtime import ports
from kaito.runtime.ports import ApiError, Object
from tests.differential.bodies import VALID
from tests.differential.calls import RESOURCES, Call, Create, Delete, Get, List, Patch, Replace, Watch
from tests.differential.servers import CONTENT_TYPES, Server, Stream

NOBODY = "00000000-0000-0000-0000-000000000000"
MARKER = "zz-end-"
"""Begins the names of objects that tell how far a watch has come."""

WATCHED_LABELS: dict[str, dict[str, str]] = {
    "": {},
    "app=x": {"app": "x"},
    "app!=x": {},
    "app": {"app": "x"},
    "!app": {},
    "app in (x,y),tier=gpu": {"app": "y", "tier": "gpu"},
}
"""The selectors that watches use, and labels that match them, for the marker."""


class Told(msgspec.Struct, frozen=True):
    """One object, or the Status that says that it is gone."""

    object: Object


class Refused(msgspec.Struct, frozen=True):
    """``error`` is the class among the port's errors."""

    error: str
    code: int
    reason: str
    message: str

    @staticmethod
    def of(error: ApiError) -> Refused:
        known = next(each for each in type(error).__mro__ if each.__module__ == ports.__name__)
        return Refused(known.__name__, error.code, error.reason, error.message)


class Listed(msgspec.Struct, frozen=True):
    items: list[Object]
    version: str
    more: bool


class Watched(msgspec.Struct, frozen=True):
    """What came up to the end of the program, in order; an error is the last of it.

    ``from_state`` says that it began with what there was, not with a version.
    """

    told: list[tuple[str, Object]]
    error: Refused | None = None
    from_state: bool = False


class Opened(msgspec.Struct, frozen=True):
    """A watch; it is compared when the program has ended."""


Answer = Told | Refused | Listed | Watched | Opened


class OpenWatch(msgspec.Struct, kw_only=True):
    call: Watch
    stream: Stream | None
    error: Refused | None = None
    from_state: bool = False


class Run:
    """One program on one server, in a namespace that nobody else uses."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.watches: list[OpenWatch] = []
        self.created: list[tuple[str, str, str]] = []
        """Kind, namespace and name of all that may still be there."""
        self._known: dict[tuple[str, str], list[Object]] = {}
        self._versions: list[str] = []
        self._continue: dict[str, str] = {}

    def do(self, call: Call) -> Answer:
        try:
            return self._do(call)
        except ApiError as error:
            return Refused.of(error)

    def finish(self) -> list[Watched]:
        """What each watch has seen, in the order in which they were opened."""
        return [self._watched(number, watch) for number, watch in enumerate(self.watches)]

    def clean_up(self) -> None:
        """Nobody else sees what is in the namespace, but kinds of the cluster and addresses are shared."""
        for watch in self.watches:
            if watch.stream is not None:
                watch.stream.close()
        for kind, namespace, name in dict.fromkeys(self.created):
            if not RESOURCES[kind].namespaced:
                with contextlib.suppress(ports.NotFound):
                    self._erase(kind, namespace, name)

    def _erase(self, kind: str, namespace: str, name: str) -> None:
        none_left = {"metadata": {"finalizers": None}}
        self.server.api.delete(RESOURCES[kind], name, namespace, propagation="Background")
        self.server.api.patch(RESOURCES[kind], name, none_left, namespace)

    # Calls

    def _do(self, call: Call) -> Answer:
        match call:
            case Create():
                return self._create(call)
            case Replace():
                return self._replace(call)
            case Patch():
                return self._patch(call)
            case Delete():
                return self._delete(call)
            case Get():
                name = self._name(call.kind, call.name)
                return self._told(call, self.server.api.get(call.resource, name, self.namespace))
            case List():
                return self._list(call)
            case Watch():
                return self._watch(call)
        raise TypeError(call)

    def _create(self, call: Create) -> Answer:
        body = typed(call, self._resolved(call.body))
        namespace = self._resolved(call.namespace)
        made = self.server.api.create(call.resource, body, namespace, dry_run=call.dry_run)
        if not call.dry_run:
            self.created.append((call.kind, namespace, made["metadata"]["name"]))
        return self._told(call, made)

    def _replace(self, call: Replace) -> Answer:
        name = self._name(call.kind, call.name)
        answers = self._known.get((call.kind, call.name), [])
        # A program may ask for more answers than there were.
        unknown = {**VALID[call.kind][0], "metadata": {"name": name}}
        base = answers[max(call.base, -len(answers))] if answers else unknown
        body = typed(call, overlaid(base, self._resolved(call.changes)))
        # Who owned what in an older state would be a change by itself, in an object that is else the same.
        body["metadata"].pop("managedFields", None)
        if call.resource.namespaced:
            body["metadata"].setdefault("namespace", self.namespace)
        api = self.server.api
        return self._told(
            call, api.update(call.resource, body, subresource=call.subresource, dry_run=call.dry_run)
        )

    def _patch(self, call: Patch) -> Answer:
        name, patch = self._name(call.kind, call.name), self._resolved(call.patch)
        options: dict[str, Any] = {"subresource": call.subresource, "dry_run": call.dry_run}
        if call.form in ("merge", "json"):
            told = self.server.api.patch(call.resource, name, patch, self.namespace, **options)
        else:
            form = CONTENT_TYPES.get(call.form, call.form)
            told = self.server.patch_as(form, call.resource, name, patch, self.namespace, **options)
        return self._told(call, told)

    def _delete(self, call: Delete) -> Answer:
        told = self.server.api.delete(
            call.resource,
            self._name(call.kind, call.name),
            self.namespace,
            uid=self._resolved(call.uid),
            resource_version=self._resolved(call.version),
            propagation=call.propagation,
            dry_run=call.dry_run,
        )
        return self._told(call, told)

    def _list(self, call: List) -> Answer:
        if call.version:
            self.server.settle(call.resource, self._scope(call))
        page = self.server.api.list(
            call.resource,
            self._scope(call),
            label_selector=call.labels,
            field_selector=self._resolved_in(call.fields),
            limit=call.limit,
            continue_=self._continue.get(call.kind, "") if call.more else "",
            resource_version=self._resolved(call.version),
        )
        self._continue[call.kind] = page.continue_
        # A cache lists in any order, and what is spoken of later has to be the same on both.
        for item in sorted(page.items, key=lambda found: str(found["metadata"]["name"])):
            self._remember(call.kind, item)
        return Listed(page.items, page.resource_version, bool(page.continue_))

    def _watch(self, call: Watch) -> Answer:
        version = self._resolved(call.version)
        if version in ("", "0"):
            self.server.settle(call.resource, self._scope(call))
        try:
            stream = self.server.watch(call.resource, self._scope(call), call.labels, version)
        except ApiError as error:
            self.watches.append(OpenWatch(call=call, stream=None, error=Refused.of(error)))
        else:
            self.watches.append(OpenWatch(call=call, stream=stream, from_state=version in ("", "0")))
        return Opened()

    def _scope(self, call: Call) -> str:
        return self.namespace if call.resource.namespaced else ""

    # The end of a watch

    def _watched(self, number: int, watch: OpenWatch) -> Watched:
        if watch.stream is None:
            return Watched([], watch.error)
        name = self._mark(number, watch.call)
        told: list[tuple[str, Object]] = []
        while notifications := watch.stream.take():
            for each in notifications:
                if each.type == "ERROR":
                    return Watched(told, _error_told(each.object))
                if each.object["metadata"]["name"] == name:
                    return Watched(told, from_state=watch.from_state)
                if MARKER not in each.object["metadata"]["name"]:
                    told.append((each.type, each.object))
        return Watched(told, from_state=watch.from_state)

    def _mark(self, number: int, call: Watch) -> str:
        name = self._name(call.kind, f"{MARKER}{number}")
        metadata = {"name": name, "labels": WATCHED_LABELS[call.labels]}
        self.server.api.create(
            call.resource, typed(call, {**VALID[call.kind][0], "metadata": metadata}), self.namespace
        )
        self.created.append((call.kind, self.namespace, name))
        return name

    # What was told

    def _told(self, call: Call, answer: Object) -> Told:
        # What a DELETE answers is not the same everywhere; the look that follows it is.
        if not (call.dry or isinstance(call, Delete)):
            self._remember(call.kind, answer)
        return Told(answer)

    def _remember(self, kind: str, obj: Object) -> None:
        metadata = obj["metadata"]
        name = metadata["name"].removeprefix(f"{self.namespace}-")
        self._known.setdefault((kind, name), []).append(obj)
        self._versions.append(metadata["resourceVersion"])

    def _name(self, kind: str, name: str) -> str:
        return name if RESOURCES[kind].namespaced else f"{self.namespace}-{name}"

    def _resolved_in(self, selector: str) -> str:
        return selector.replace("@name:", f"{self.namespace}-").replace("@namespace", self.namespace)

    def _resolved(self, value: Any) -> Any:
        """The value with what stands for something replaced by it."""
        match value:
            case str() if value.startswith("@"):
                return self._meant(value[1:])
            case Mapping():
                return {key: self._resolved(each) for key, each in value.items()}
            case list() | tuple():
                return [self._resolved(each) for each in value]
        return value

    def _meant(self, what: str) -> str:
        match what.split(":"):
            case ["namespace"]:
                return self.namespace
            case ["name", name]:
                return f"{self.namespace}-{name}"
            case ["version", back]:
                return self._versions[int(back)] if -int(back) <= len(self._versions) else ""
            case ["version", object_, back]:
                told = self._of(object_)
                return str(told[int(back)]["metadata"]["resourceVersion"]) if -int(back) <= len(told) else "1"
            case ["uid", object_]:
                told = self._of(object_)
                return str(told[-1]["metadata"]["uid"]) if told else NOBODY
        raise ValueError(what)

    def _of(self, object_: str) -> list[Object]:
        kind, _, name = object_.partition("/")
        return self._known.get((kind, name), [])


def typed(call: Call, body: Object) -> Object:
    """With apiVersion and kind, unless the body says what it is."""
    return {"apiVersion": call.resource.api_version, "kind": call.kind, **body}


def overlaid(base: Any, changes: Any) -> Any:
    """The base with the changes laid over it; None takes away. Not the servers' merge patch, on purpose."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    kept = {key: value for key, value in base.items() if changes.get(key, ...) is not None}
    return kept | {key: overlaid(base.get(key), new) for key, new in changes.items() if new is not None}


def _error_told(status: Object) -> Refused:
    from kaito.kube.answers import refusal

    return Refused.of(refusal("watch", status["code"], {}, msgspec.json.encode(status)))
