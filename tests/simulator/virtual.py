"""Builders for tests of the virtual API server: a clock to set, and small objects of each kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kaito.runtime.ports import Object
from simulator.cluster import Cluster
from simulator.kinds import KINDS, OpenSchema

START = datetime(2024, 4, 5, 18, 29, 58, 776_000, tzinfo=UTC)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


OPEN_KINDS = tuple(msgspec.structs.replace(kind, schema=OpenSchema()) for kind in KINDS)
"""Every kind without its schema: most tests are about the server, which treats all content alike."""


def a_cluster(clock: Callable[[], datetime] | None = None, seed: int = 7, **settings: Any) -> Cluster:
    return Cluster(clock or SetClock(), seed, **{"kinds": OPEN_KINDS, **settings})


def a_workspace(name: str = "falcon", **metadata: Any) -> Object:
    return {
        "metadata": {"name": name, **metadata},
        "resource": {"labelSelector": {"matchLabels": {"apps": "falcon-7b"}}},
        "inference": {"preset": {"name": "falcon-7b-instruct"}},
    }


def a_machine(name: str = "ws1", **metadata: Any) -> Object:
    return {"metadata": {"name": name, **metadata}, "spec": {"resources": {}}}


def a_pod(name: str = "pod-0", node: str = "", **metadata: Any) -> Object:
    spec: Object = {"containers": [{"name": "main"}]}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def a_deployment(name: str = "web", **metadata: Any) -> Object:
    return {"metadata": {"name": name, **metadata}, "spec": {"replicas": 1}}


def owner_reference(owner: Object, **fields: Any) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **fields,
    }


def names(items: list[Object]) -> list[str]:
    return [item["metadata"]["name"] for item in items]
