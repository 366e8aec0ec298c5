"""Whether and how a process stands for election: its settings, and the election they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType

import msgspec

from kaito.manager.election import Election
from kaito.process.forms import Form, read_forms, seconds
from kaito.runtime.election import Elector, Terms
from kaito.runtime.ports import Clock, KubeApi
from store.records import EventLog

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

CALL_SHARE = 0.5
"""Of the renew deadline: how long one call about the Lease may take, as in client-go."""

FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "lease_seconds": seconds("--leader-elect-lease-duration", flag_only=True),
        "renew_seconds": seconds("--leader-elect-renew-deadline", flag_only=True),
        "retry_seconds": seconds("--leader-elect-retry-period", flag_only=True),
    }
)
"""The flags that Kubernetes' own controllers have, for the fields of `Terms`."""


class Candidacy(msgspec.Struct, frozen=True):
    """The Lease to stand for."""

    name: str
    namespace: str
    terms: Terms = Terms()

    @property
    def call_seconds(self) -> float:
        """How long one call about the Lease may take."""
        return self.terms.renew_seconds * CALL_SHARE


def read_candidacy(
    name: str,
    environment: Mapping[str, str],
    flags: Mapping[str, str],
    faults: list[str],
    pod_namespace: Path = POD_NAMESPACE,
) -> Candidacy | None:
    """The Lease that flags and environment name; None, and lines in ``faults``, where they are wrong.

    Args:
        flags: Beside those of `FORMS`, ``namespace`` and ``lease_name``.
    """
    found, wrong = read_forms(FORMS, environment, flags)
    terms = msgspec.convert(found, Terms)
    wrong += [f"--leader-elect-{fault}" for fault in terms.faults()]
    namespace = flags.get("namespace") or environment.get("SYSTEM_NAMESPACE") or _own(pod_namespace)
    if not namespace:
        wrong.append(
            "SYSTEM_NAMESPACE: expected the namespace of the Lease (or --leader-elect-resource-namespace, or "
            "--leader-elect=false for a process that is alone), found nothing, and no pod's namespace either"
        )
    if wrong:
        faults += wrong
        return None
    return Candidacy(flags.get("lease_name") or name, namespace, terms)


def new_election(
    api: KubeApi, log: EventLog, candidacy: Candidacy, family: str, identity: str, clock: Clock
) -> Election:
    """The candidacy of this process, not started.

    Args:
        family: Of the streams that the leader writes.
    """
    floor: Callable[[], int] = lambda: log.highest_epoch(family)  # noqa: E731
    elector = Elector(candidacy.name, candidacy.namespace, identity, floor, Random(identity), candidacy.terms)
    return Election(api, elector, log, family, clock)


def _own(pod_namespace: Path) -> str:
    try:
        return pod_namespace.read_text().strip()
    except OSError:
        return ""
