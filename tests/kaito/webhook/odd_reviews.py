"""Reviews from a seed: real ones, spoiled ones, and such as only somebody who means harm would send."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.kaito.webhook.clients import a_review, a_review_object, a_workspace

ODD_TEXTS = [
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b"1" * 400,
    b"1" * 6000,
    b"-1e999",
    b"1e-999",
    b'{"a":1,"a":2,"a":{}}',
    b'"' + b"x" * 300_000 + b'"',
    b"[" * 120 + b"]" * 120,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b"[" * 50_000 + b"]" * 50_000,
    b"[" * 50_000,
    b"NaN",
    b'"\\u0000\\u202e"',
    b"{" + b",".join(b'"k%d":1' % number for number in range(2000)) + b"}",
]
_MARK = "here stands something odd"


def odd_reviews(count: int, seed: int) -> Iterator[bytes]:
    """So many bodies; the same for the same seed."""
    random = Random(f"{seed}/reviews")
    makers: list[Callable[[Random], bytes]] = [_real, _spoiled, _spoiled, _odd, _cut]
    for number in range(count):
        yield makers[number % len(makers)](random)


def _real(random: Random) -> bytes:
    presets = ["falcon-7b", "falcon-40b", "phi-2", "gpt-9", "llama-2-7b"]
    new = a_workspace(f"w{random.randint(1, 99)}", random.choice(presets))
    old = a_workspace(preset=random.choice(presets)) if random.random() < 0.5 else None
    return a_review(new, old)


def _spoiled(random: Random) -> bytes:
    return json.dumps(_with(random, random.choice([None, True, -1, 1e300, "", "ä\n", [], [{}], {}]))).encode()


def _odd(random: Random) -> bytes:
    body = json.dumps(_with(random, _MARK)).encode()
    return body.replace(f'"{_MARK}"'.encode(), random.choice(ODD_TEXTS))


def _cut(random: Random) -> bytes:
    body = bytearray(_real(random))
    for _ in range(random.randint(1, 4)):
        body[random.randrange(len(body))] = random.randrange(256)
    return bytes(body[: random.randrange(len(body))] if random.random() < 0.3 else body)


def _with(random: Random, value: Any) -> dict[str, Any]:
    """A real review with the value at a random place below ``request``, but for the uid."""
    review = a_review_object(a_workspace(), a_workspace() if random.random() < 0.5 else None)
    place: Any = review["request"]
    while random.random() < 0.8 and (below := [each for each in place.values() if isinstance(each, dict)]):
        place = random.choice(below)
    keys = [key for key in place if key != "uid"]
    place[random.choice([*keys, "odd"])] = copy.deepcopy(value)
    return review
