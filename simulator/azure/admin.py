"""The switches of the simulated cloud over HTTP, under ``/admin``.

| Request | Effect |
|---|---|
| GET /state | the time, the speed, pools, quotas, scripts and the GPU-seconds billed |
| POST /faults, DELETE /faults | add a `Script`, forget all |
| PUT /quota/{family} | ``{"limit": 100, "used": 96}``; a limit of null lifts it |
| POST /stockouts, DELETE /stockouts | ``{"vm_size": …, "zone": "", "for_seconds": null}``, and its end |
| POST /pools | a foreign pool, as a `PresentPool` |
| POST /evict | ``{"pool": …}``: take the pool's machines |
| POST /release | let every operation that hangs succeed |
| POST /calm | nothing fails any more |
| POST /advance | ``{"seconds": 60}``: virtual time passes |
| PUT /speed | ``{"factor": 60}`` or ``{"factor": "max"}`` |

A body that does not fit is answered with 400 and one line that says where and why.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from pydantic import Field, NonNegativeInt, PositiveFloat, ValidationError, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.azure.arm import VirtualArm
from simulator.azure.pacing import AS_FAST_AS_IT_CAN, Pacer
from simulator.azure.scenario import PresentPool
from simulator.azure.scripts import Script
from simulator.latency import Frozen
from simulator.profile_errors import explain

M = TypeVar("M", bound=Frozen)
Endpoint = Callable[[Request], Awaitable[Response]]


HIGHEST_FACTOR = 1_000_000
"""Beyond it, a tick of the wall clock is more than virtual time can hold for long."""
LONGEST_ADVANCE_SECONDS = 10 * 365 * 86_400.0


class QuotaChange(Frozen):
    limit: NonNegativeInt | None
    used: NonNegativeInt = 0


class Stockout(Frozen):
    vm_size: str
    zone: str = ""
    for_seconds: PositiveFloat | None = None


class OfPool(Frozen):
    pool: str


class Advance(Frozen):
    seconds: Annotated[float, Field(ge=0, le=LONGEST_ADVANCE_SECONDS)]


class Speed(Frozen):
    """Virtual seconds a second; as fast as it can where the request says max."""

    factor: Annotated[float, Field(allow_inf_nan=True)]

    @field_validator("factor", mode="before")
    @classmethod
    def _number_or_max(cls, value: object) -> object:
        if value == "max":
            return AS_FAST_AS_IT_CAN
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= HIGHEST_FACTOR:
            return value
        raise ValueError(f"expected max or a number from 0 to {HIGHEST_FACTOR}, found {value!r}")


class Nothing(Frozen):
    """A request without a body."""


class BadRequest(Exception):
    """The request cannot be done; the text says why, in one line."""


def admin_routes(arm: VirtualArm, pacer: Pacer) -> list[Route]:
    """The routes below ``/admin``."""
    switches = _Switches(arm, pacer)

    def route(method: str, path: str, model: type[M], act: Callable[[M, Request], object]) -> Route:
        return Route(path, _endpoint(pacer, model, act), methods=[method])

    return [
        route("GET", "/state", Nothing, switches.state),
        route("POST", "/faults", Script, lambda script, _: arm.service.switchboard.add(script)),
        route("DELETE", "/faults", Nothing, lambda *_: arm.service.switchboard.clear()),
        route("PUT", "/quota/{family}", QuotaChange, switches.set_quota),
        route(
            "POST", "/stockouts", Stockout, lambda out, _: arm.run_out(out.vm_size, out.zone, out.for_seconds)
        ),
        route("DELETE", "/stockouts", Stockout, lambda out, _: arm.restock(out.vm_size, out.zone)),
        route("POST", "/pools", PresentPool, lambda pool, _: arm.service.add_pool(pool)),
        route("POST", "/evict", OfPool, switches.evict),
        route("POST", "/release", Nothing, lambda *_: arm.release()),
        route("POST", "/calm", Nothing, lambda *_: arm.end_faults()),
        route("POST", "/advance", Advance, lambda body, _: pacer.advance(body.seconds)),
        route("PUT", "/speed", Speed, switches.set_speed),
    ]


class _Switches:
    """Those that are more than one call."""

    def __init__(self, arm: VirtualArm, pacer: Pacer) -> None:
        self._arm = arm
        self._pacer = pacer

    def state(self, _: Nothing, request: Request) -> dict[str, Any]:
        service = self._arm.service
        return {
            "now": service.now().isoformat(),
            "speed": "max" if self._pacer.speed == AS_FAST_AS_IT_CAN else self._pacer.speed,
            "pools": {name: str(pool.state) for name, pool in sorted(service.pools.items())},
            "hanging": [each.pool for each in service.operations.hanging()],
            "quotas": {name: found.model_dump() for name, found in service.quotas.all().items()},
            "faults": [script.model_dump(mode="json") for script in service.switchboard.scripts()],
            "gpu_seconds": self._arm.gpu_seconds(),
        }

    def set_quota(self, change: QuotaChange, request: Request) -> None:
        self._arm.set_quota(request.path_params["family"], change.limit, change.used)

    def evict(self, of: OfPool, _: Request) -> None:
        if of.pool not in self._arm.service.pools:
            raise BadRequest(f"pool: expected the name of a pool, found {of.pool!r}")
        self._arm.evict(of.pool)

    def set_speed(self, speed: Speed, _: Request) -> None:
        self._pacer.set_speed(speed.factor)


def _endpoint(pacer: Pacer, model: type[M], act: Callable[[M, Request], object]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        with pacer.lock:
            pacer.catch_up()
            try:
                answer = act(_read(model, body), request)
            except BadRequest as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(answer if isinstance(answer, dict) else {})

    return endpoint


def _read(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate(json.loads(body or b"{}"))
    except ValidationError as error:
        raise BadRequest(explain(error)) from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"expected JSON, found: {error}") from error
