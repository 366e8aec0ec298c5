"""`--set PATH=VALUE`: one number of a scenario replaced, of the operator or of the latency profile."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaito import durations
from kaito.problems import Problem
from kaito.runtime.settings import Settings
from simulator.profile import Profile
from simulator.profile_errors import InvalidProfile


def apply(assignments: Sequence[str], settings: Settings, profile: Profile) -> tuple[Settings, Profile]:
    """The settings and the profile with ``operator.…`` and ``profile.…`` paths set.

    Raises:
        Problem: A path nobody knows, or a value that does not fit it.
    """
    operator: dict[str, object] = {}
    numbers: dict[str, float] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path or not text:
            raise Problem(f"--set {assignment}: expected PATH=VALUE, found no {'value' if path else 'path'}")
        section, _, field = path.partition(".")
        if section == "operator":
            operator[field] = _setting(assignment, field, text)
        elif section == "profile":
            numbers[field] = _number(assignment, text)
        else:
            raise Problem(f"--set {assignment}: expected a path that starts with operator. or profile.")
    try:
        return msgspec.structs.replace(settings, **operator), profile.with_values(numbers)
    except InvalidProfile as error:
        raise Problem(str(error)) from error


def _setting(assignment: str, field: str, text: str) -> object:
    known = {found.name: found.type for found in msgspec.structs.fields(Settings)}
    if field not in known:
        raise Problem(f"--set {assignment}: expected one of {_paths(known)}, found operator.{field}")
    if known[field] is not float:
        return text
    seconds = _number(assignment, text)
    if seconds <= 0:
        raise Problem(f"--set {assignment}: expected a duration above 0, found {text}")
    return seconds


def _paths(known: dict[str, object]) -> str:
    return ", ".join(f"operator.{name}" for name in sorted(known))


def _number(assignment: str, text: str) -> float:
    """A plain number, or a duration as its seconds."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return durations.parse(text).total_seconds()
    except ValueError as error:
        raise Problem(
            f"--set {assignment}: expected a number or {durations.EXPECTED}, found {text}"
        ) from error
