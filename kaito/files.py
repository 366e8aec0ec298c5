"""Writing a file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kaito.problems import Problem


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write beside the file and rename, so that a failure leaves what was there.

    Raises:
        Problem: The file cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.writelines(parts)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Problem(f"{path}: cannot be written: {error.strerror}") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
