"""Names of Machines."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from statemachine.naming import machine_name
from tests.builders import UID

uids = st.uuids().map(str)
small = st.integers(0, 64)


def test_machine_name_is_pinned_for_ever() -> None:
    # A change of this value would buy every running Workspace a second set of nodes.
    assert machine_name(UID, 0, 1) == "ws7c6a1a486"


@given(uid=uids, slot=small, attempt=small)
def test_machine_name_fits_an_agent_pool(uid: str, slot: int, attempt: int) -> None:
    assert re.fullmatch(r"ws[0-9a-f]{9}", machine_name(uid, slot, attempt))


def test_slots_and_attempts_never_share_names() -> None:
    pairs = [(slot, attempt) for slot in range(40) for attempt in range(40)]

    assert len({machine_name(UID, slot, attempt) for slot, attempt in pairs}) == len(pairs)


def test_lives_of_one_name_share_nothing() -> None:
    assert machine_name("life-1", 0, 1) != machine_name("life-2", 0, 1)


def test_slot_and_attempt_are_kept_apart() -> None:
    assert machine_name(UID, 1, 11) != machine_name(UID, 11, 1)
