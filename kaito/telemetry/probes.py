"""`/healthz` and `/readyz` as ASGI applications, in the manner of the Kubernetes API server.

Each is a list of named checks, and it is healthy when all of them are. ``?verbose`` lists them, ``?exclude=``
leaves one out, and `/readyz/<check>` asks for one alone. Unlike the API server's, a failed check says why:
nothing here is secret, and whoever is woken at night wants to know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kaito.manager.logs import fields

_LOGGER = logging.getLogger(__name__)

Check: TypeAlias = Callable[[], str]
"""Why not; empty when all is well. It must not wait."""

Checks: TypeAlias = Mapping[str, Check]

HEALTH, READINESS = "healthz", "readyz"
FAILED = 500
"""The API server's code for a check that fails."""


def probes_application(*, health: Checks, readiness: Checks) -> Starlette:
    """Both endpoints, with a path for each of their checks; Kubernetes' newer ``/livez`` is ``/healthz``."""
    found = {HEALTH: health, "livez": health, READINESS: readiness}
    return Starlette(routes=[route for name, checks in found.items() for route in _routes(name, checks)])


def _routes(name: str, checks: Checks) -> list[Route]:
    changes = Changes()

    def every(request: Request) -> Response:
        excluded = set(request.query_params.getlist("exclude"))
        asked = {check: of for check, of in checks.items() if check not in excluded}
        return _answer(name, asked, changes, verbose="verbose" in request.query_params)

    def one(request: Request) -> Response:
        check = request.path_params["check"]
        if check not in checks:
            return PlainTextResponse(f"no check {check}; there are: {', '.join(checks)}\n", 404)
        return _answer(f"{name}/{check}", {check: checks[check]}, changes, verbose=False)

    return [Route(f"/{name}", every), Route(f"/{name}/{{check}}", one)]


class Changes:
    """Tells the log when a check fails and when it no longer does; a probe asks every few seconds."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    def note(self, name: str, why: str) -> None:
        if why and name not in self._failing:
            self._failing.add(name)
            _LOGGER.warning("probe fails", extra=fields(check=name, why=why))
        elif not why and name in self._failing:
            self._failing.discard(name)
            _LOGGER.info("probe no longer fails", extra=fields(check=name))


def _answer(name: str, checks: Checks, changes: Changes, *, verbose: bool) -> Response:
    """The body names every check when one has failed or the caller wants to know; else it says ``ok``."""
    results = {check: _asked(check, of) for check, of in checks.items()}
    for check, why in results.items():
        changes.note(check, why)
    failed = any(results.values())
    if not failed and not verbose:
        return PlainTextResponse("ok")
    lines = [f"[-]{check} failed: {why}" if why else f"[+]{check} ok" for check, why in results.items()]
    lines.append(f"{name} check {'failed' if failed else 'passed'}")
    return PlainTextResponse("\n".join(lines) + "\n", FAILED if failed else 200)


def _asked(name: str, check: Check) -> str:
    """The result on one line; a check that raises has failed."""
    try:
        return " ".join(check().split())
    except Exception as error:
        _LOGGER.exception("check could not be made", extra=fields(check=name))
        return f"the check itself failed: {type(error).__name__}"
