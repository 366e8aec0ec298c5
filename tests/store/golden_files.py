"""The golden files: each event type at each schema version as it was first stored.

A golden file is written once, when its type or version is new, with

    python -m tests.store.golden_files

and then never changed: logs with those bytes exist. The command writes missing files only.
"""

from __future__ import annotations

from pathlib import Path

from statemachine.events import Event
from store.codec import EVENTS, Codec
from tests.store.samples import sample

FOLDER = Path(__file__).parent / "golden"


def golden_path(name: str, schema_version: int, folder: Path = FOLDER) -> Path:
    return folder / f"{name}.v{schema_version}.json"


def missing(codec: Codec = EVENTS, folder: Path = FOLDER) -> list[tuple[Path, type[Event]]]:
    """The present versions that have no golden file, with the class of each."""
    paths = [
        (golden_path(name, version, folder), type_) for name, (type_, version) in codec.registered().items()
    ]
    return [(path, type_) for path, type_ in paths if not path.exists()]


def write_missing(codec: Codec = EVENTS, folder: Path = FOLDER) -> list[Path]:
    written = []
    for path, type_ in missing(codec, folder):
        path.write_text(codec.encode(sample(type_)).data + "\n", encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write_missing():
        print(path.name)
