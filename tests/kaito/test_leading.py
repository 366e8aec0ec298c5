"""Writes ask who leads, reads do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kaito.runtime.leading import LeadershipLost, LedApi, LedPools
from kaito.runtime.pools import PoolSpec
from kaito.runtime.ports import WORKSPACES
from store.errors import StaleEpoch


class Journal:
    """Answers every call with its name."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, verb: str) -> Callable[..., str]:
        def call(*arguments: Any, **options: Any) -> str:
            self.calls.append(verb)
            return verb

        return call


POOL = PoolSpec(name="p", vm_size="s", labels={})

READS: dict[str, Callable[[Any], object]] = {
    "get": lambda api: api.get(WORKSPACES, "w", "default"),
    "list": lambda api: api.list(WORKSPACES, label_selector="a=b"),
}
WRITES: dict[str, Callable[[Any], object]] = {
    "create": lambda api: api.create(WORKSPACES, {}, "default"),
    "update": lambda api: api.update(WORKSPACES, {}),
    "patch": lambda api: api.patch(WORKSPACES, "w", {}, "default", subresource="status"),
    "delete": lambda api: api.delete(WORKSPACES, "w", "default", uid="1"),
    "evict": lambda api: api.evict("p", "default"),
}
POOL_READS: dict[str, Callable[[Any], object]] = {
    "get": lambda pools: pools.get("p"),
    "list": lambda pools: pools.list(),
    "operation": lambda pools: pools.operation("/operations/1"),
}
POOL_WRITES: dict[str, Callable[[Any], object]] = {
    "begin_create": lambda pools: pools.begin_create(POOL),
    "begin_delete": lambda pools: pools.begin_delete("p"),
}


def lost() -> None:
    raise LeadershipLost(3, "somebody holds the lease")


@pytest.mark.parametrize("verb", [*READS, *WRITES])
def test_leader_may_call_everything(verb: str) -> None:
    journal = Journal()

    (READS | WRITES)[verb](LedApi(journal, lambda: None))  # type: ignore[arg-type]

    assert journal.calls == [verb]


@pytest.mark.parametrize("verb", WRITES)
def test_former_leader_writes_nothing(verb: str) -> None:
    journal = Journal()

    with pytest.raises(LeadershipLost, match="leadership of epoch 3 lost: somebody holds the lease"):
        WRITES[verb](LedApi(journal, lost))  # type: ignore[arg-type]

    assert journal.calls == []


@pytest.mark.parametrize("verb", READS)
def test_former_leader_may_read(verb: str) -> None:
    journal = Journal()

    READS[verb](LedApi(journal, lost))  # type: ignore[arg-type]

    assert journal.calls == [verb]


@pytest.mark.parametrize("verb", [*POOL_READS, *POOL_WRITES])
def test_leader_may_call_every_verb_of_pools(verb: str) -> None:
    journal = Journal()

    (POOL_READS | POOL_WRITES)[verb](LedPools(journal, lambda: None))  # type: ignore[arg-type]

    assert journal.calls == [verb]


@pytest.mark.parametrize("verb", POOL_WRITES)
def test_former_leader_touches_no_pool(verb: str) -> None:
    journal = Journal()

    with pytest.raises(StaleEpoch):
        POOL_WRITES[verb](LedPools(journal, lost))  # type: ignore[arg-type]

    assert journal.calls == []


@pytest.mark.parametrize("verb", POOL_READS)
def test_former_leader_may_look_at_pools(verb: str) -> None:
    journal = Journal()

    POOL_READS[verb](LedPools(journal, lost))  # type: ignore[arg-type]

    assert journal.calls == [verb]
