"""Faults by script: this call, or this operation, fails in this way, so many times, in this window.

A scenario file, a test and the admin endpoint of the HTTP face all use these values.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, Strict

from simulator.latency import Frozen
from simulator.profile import Text

Verb = Literal["put", "get", "list", "delete", "operation", "abort"]
VERBS: tuple[Verb, ...] = ("put", "get", "list", "delete", "operation", "abort")


class Refuse(Frozen):
    """The call is answered with an error and nothing is begun."""

    kind: Literal["refuse"] = "refuse"
    status: Annotated[int, Field(ge=400, le=599)] = 500
    code: Text = "InternalServerError"
    message: str = "We are unable to serve this request due to an internal error."
    details: Annotated[tuple[dict[str, Any], ...], Strict(False)] = ()
    flat: bool = True
    """The body's shape: AKS's own, or ARM's with everything under ``error``."""
    retry_after_seconds: NonNegativeInt | None = None


class Reset(Frozen):
    """The connection is reset. ``done`` says whether the call had its effect before that."""

    kind: Literal["reset"] = "reset"
    done: bool


class Garbage(Frozen):
    """The answer is something else than the protocol promises, as from a broken proxy."""

    kind: Literal["garbage"] = "garbage"
    done: bool = False
    status: Annotated[int, Field(ge=200, le=599)] = 200
    body: str = "<html><body>Our services aren't available right now</body></html>"


class Fail(Frozen):
    """The operation that the call begins ends badly, so many seconds after it was accepted."""

    kind: Literal["fail"] = "fail"
    status: Literal["Failed", "Canceled"] = "Failed"
    code: Text = "InternalServerError"
    message: str = "We are unable to serve this request due to an internal error."
    details: Annotated[tuple[dict[str, Any], ...], Strict(False)] = ()
    after_seconds: NonNegativeFloat = 60.0
    machine_stays: bool = False
    """Whether a virtual machine was made all the same, as after a failed bootstrap; it costs money."""


class Hang(Frozen):
    """The operation never ends, until it is released or aborted; its pool stays as it is."""

    kind: Literal["hang"] = "hang"


class Lose(Frozen):
    """The operation goes its way, and its URL does not tell: unknown (404), or in progress for ever."""

    kind: Literal["lose"] = "lose"
    seen_as: Literal["missing", "running"] = "missing"


class Take(Frozen):
    """The operation succeeds after exactly so long."""

    kind: Literal["take"] = "take"
    seconds: NonNegativeFloat


CallFault: TypeAlias = Refuse | Reset | Garbage
OperationFault: TypeAlias = Fail | Hang | Lose | Take
Fault: TypeAlias = Annotated[CallFault | OperationFault, Field(discriminator="kind")]


class Script(Frozen):
    """One fault and when it happens.

    ``pool`` is a glob. ``times`` None means always. Times are seconds after the start of the run; the window
    is open at its end.
    """

    fault: Fault
    verb: Literal[Verb, "any"] = "any"
    pool: Text = "*"
    skip: NonNegativeInt = 0
    """So many fitting calls pass unharmed first."""
    times: PositiveInt | None = 1
    from_seconds: NonNegativeFloat = 0.0
    until_seconds: NonNegativeFloat | None = None
