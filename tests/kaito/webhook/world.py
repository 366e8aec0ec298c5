"""A virtual cluster with what the webhook's upkeep needs, and replicas of the operator on it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kaito.runtime.ports import ApiError, Forbidden, KubeApi, Object, Resource
from kaito.webhook import configuration, secret
from kaito.webhook.certificates import Pair, Terms
from kaito.webhook.keeper import Keeper
from kaito.webhook.resources import CONFIGURATIONS, NAMESPACES, SECRETS
from kaito.webhook.rotation import Rules
from simulator.cluster import Cluster
from simulator.kinds import Kind
from tests.builders import EPOCH

NAMESPACE = "kaito-system"
NAMES = frozenset({"webhook", "webhook.kaito-system.svc"})
TERMS = Terms(valid=timedelta(hours=100), renew_before=timedelta(hours=25), skew=timedelta(hours=1))
PROPAGATION_SECONDS = 30.0
RULES = Rules(names=NAMES, terms=TERMS, propagation_seconds=PROPAGATION_SECONDS)

KINDS = (
    Kind(resource=SECRETS, status=False, generation=False),
    Kind(resource=CONFIGURATIONS, status=False),
    Kind(resource=NAMESPACES, generation=False),
)


class HandClock:
    """Both clocks, moved by hand; the time of day may be off."""

    def __init__(self, off: timedelta = timedelta(0), original: HandClock | None = None) -> None:
        self._off = off
        self._original = original
        self._passed = 0.0

    def __call__(self) -> datetime:
        return self.now()

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic()) + self._off

    def monotonic(self) -> float:
        return self._original.monotonic() if self._original else self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds


class Flaky(KubeApi):
    """Passes calls on, and counts the writes; the next one can be made to fail, before or after its effect.

    Attributes:
        fault: Raised by every call while it is set.
        forbidden: Verbs and plurals, such as ``create secrets``, that are always refused.
    """

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self.fault: ApiError | None = None
        self.loses_answers = False
        self.forbidden: set[str] = set()
        self.calls: list[str] = []

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._call("get", resource, lambda: self._api.get(resource, name, namespace))

    def create(
        self, resource: Resource, body: Object, namespace: str = "", *, dry_run: bool = False
    ) -> Object:
        return self._call("create", resource, lambda: self._api.create(resource, body, namespace))

    def update(
        self, resource: Resource, body: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        return self._call("update", resource, lambda: self._api.update(resource, body))

    def _call(self, verb: str, resource: Resource, call: Any) -> Object:
        name = f"{verb} {resource.plural}"
        self.calls.append(name)
        if name in self.forbidden:
            raise Forbidden(f"may not {name}")
        if self.fault is not None and not self.loses_answers:
            raise self.fault
        answer: Object = call()
        if self.fault is not None:
            raise self.fault
        return answer

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("get ")]


class Replica:
    """One process: its keeper, and what it serves."""

    def __init__(
        self, cluster: KubeApi, clock: HandClock, *, names: frozenset[str] = NAMES, terms: Terms = TERMS
    ) -> None:
        self.api = Flaky(cluster)
        self.clock = clock
        self.installed: list[Pair] = []
        rules = Rules(names=names, terms=terms, propagation_seconds=PROPAGATION_SECONDS)
        self.keeper = Keeper(self.api, clock, NAMESPACE, rules, self.installed.append)

    def run(self) -> float | None:
        """Rounds until there is nothing to do at once; seconds until there is."""
        for _ in range(10):
            if (seconds := self.keeper.round()) != 0.0:
                return seconds
        raise AssertionError("ten rounds did not come to rest")


def a_cluster(
    clock: HandClock, *, configured: bool = True, secret_data: Mapping[str, str] | None = None
) -> Cluster:
    """With our namespace and, unless told not to, what the chart installs; the Secret is empty."""
    cluster = Cluster(clock, 7, kinds=KINDS)
    cluster.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    if configured:
        cluster.create(CONFIGURATIONS, a_configuration())
    data = {secret.KEY: "", secret.CERTIFICATE: "", secret.AUTHORITIES: ""}
    body = {"metadata": {"name": secret.NAME, "namespace": NAMESPACE}, "data": data | dict(secret_data or {})}
    cluster.create(SECRETS, body)
    return cluster


def a_configuration(**changes: Any) -> Object:
    """As the published chart installs it."""
    entry = {
        "name": configuration.NAME,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "webhook", "namespace": NAMESPACE, "port": 9443}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "rules": [
            {
                "apiGroups": ["kaito.sh"],
                "apiVersions": ["v1alpha1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["workspaces"],
            }
        ],
    }
    return {
        "apiVersion": CONFIGURATIONS.api_version,
        "kind": CONFIGURATIONS.kind,
        "metadata": {"name": configuration.NAME},
        "webhooks": [{**entry, **changes}],
    }


def the_secret(cluster: KubeApi) -> Object:
    return cluster.get(SECRETS, secret.NAME, NAMESPACE)


def the_configuration(cluster: KubeApi) -> Object:
    return cluster.get(CONFIGURATIONS, configuration.NAME)


def trusted(cluster: KubeApi) -> Sequence[str]:
    return configuration.trusted(the_configuration(cluster)) or ()


def set_secret_data(cluster: KubeApi, data: Mapping[str, str]) -> None:
    """Whole and without asking, as a chart's upgrade does."""
    cluster.update(SECRETS, {**the_secret(cluster), "data": dict(data)})


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
