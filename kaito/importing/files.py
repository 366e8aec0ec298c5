"""Raw lines of a file, gzipped or not, each proven to be text."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from kaito.importing.errors import BrokenFile, UnreadableFile

MAX_LINE_BYTES = 1 << 20
"""Longer than any line a controller writes; binary files without line breaks end here."""

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class RawLine(NamedTuple):
    """``whole`` is False for a last line without a line break: it may be half written."""

    number: int
    text: str
    whole: bool


def label_paths(paths: list[Path]) -> list[str]:
    """How messages and causes name the files: by their last part where that tells them apart."""
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else str(path) for path in paths]


def read_lines(path: Path, label: str) -> Iterator[RawLine]:
    """The lines in order.

    Raises:
        UnreadableFile: The file cannot be opened.
        BrokenFile: It is empty, or a line is not text.
    """
    number = 0
    try:
        with _open(path) as stream:
            while raw := stream.readline(MAX_LINE_BYTES):
                number += 1
                yield RawLine(number, _text(raw, label, number), raw.endswith(b"\n"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BrokenFile(label, number + 1, f"the gzip data is cut or damaged ({error})") from error
    except OSError as error:
        raise UnreadableFile(label, error.strerror or str(error)) from error
    if number == 0:
        raise BrokenFile(label, 1, "the file is empty")


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _text(raw: bytes, label: str, number: int) -> str:
    if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
        raise BrokenFile(label, number, f"the line is longer than {MAX_LINE_BYTES} bytes")
    if number == 1:
        raw = raw.removeprefix(_BYTE_ORDER_MARK)
    if control := _CONTROL.search(raw):
        raise BrokenFile(
            label, number, f"not text: byte 0x{control[0][0]:02x} at column {control.start() + 1}"
        )
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BrokenFile(label, number, f"not UTF-8 at column {error.start + 1}") from error
