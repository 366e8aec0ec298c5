"""UIDs and generated names, drawn from the seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

SUFFIX_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Those of a generated name's suffix; upstream leaves out what could form words."""
SUFFIX_LENGTH = 5
BASE_LENGTH = 58
"""A longer generateName is cut, so that the name fits a DNS label."""

NAME_TRIES = 8


class Identifiers:
    """The identifiers of one cluster. A UID is used up by the object stored with it, not by attempts."""

    def __init__(self, seed: int | str) -> None:
        self._uids = random.Random(f"{seed}/uids")
        self._suffixes = random.Random(f"{seed}/names")
        self._next = self._draw()

    def peek(self) -> str:
        """The UID of the next object."""
        return self._next

    def use(self) -> None:
        self._next = self._draw()

    def name(self, base: str, taken: Callable[[str], bool]) -> str:
        """A name from a generateName; after some tries one that is taken, for the create to fail on."""
        for _ in range(NAME_TRIES):
            name = base[:BASE_LENGTH] + self._suffix()
            if not taken(name):
                break
        return name

    def _suffix(self) -> str:
        return "".join(self._suffixes.choices(SUFFIX_CHARACTERS, k=SUFFIX_LENGTH))

    def _draw(self) -> str:
        return str(uuid.UUID(int=self._uids.getrandbits(128), version=4))
