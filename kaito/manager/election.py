"""Leader election as a thread: it does what the elector asks for and tells how it stands."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from threading import Event, Lock, Thread

from kaito.manager.controller import Failed
from kaito.manager.logs import fields
from kaito.runtime.election import Ask, Elector, Standing, Verb
from kaito.runtime.leading import LeadershipLost
from kaito.runtime.ports import LEASES, ApiError, Clock, KubeApi, Object
from store.errors import LogUnavailable, StaleEpoch
from store.records import EventLog

_LOGGER = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 1.0


class Election:
    """The candidacy of this process, from `start` to `release`.

    Args:
        api: Its calls have to end well within the renew deadline.
        log: Where the new leader shuts the former one out, before it acts.
        family: Of the streams that whoever leads writes.
    """

    def __init__(self, api: KubeApi, elector: Elector, log: EventLog, family: str, clock: Clock) -> None:
        self._api = api
        self._elector = elector
        self._log = log
        self._family = family
        self._clock = clock
        self._lock = Lock()
        self._stopping = Event()
        self._acquired: Callable[[], None] = lambda: None
        self._failed: Failed = lambda error: None
        self._ready = False
        self._told = ("", "")
        self._thread = Thread(target=self._run, name="election", daemon=True)
        self.on_standing: Callable[[bool], None] = lambda leads: None
        """Told when the standing changes, for a metric."""

    # --- for the workers ----------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        with self._lock:
            return self._ready and self._elector.leads(self._clock.monotonic())

    def epoch(self) -> int:
        """The epoch to append with.

        Raises:
            LeadershipLost: This process does not lead.
        """
        self.check()
        return self._elector.epoch

    def check(self) -> None:
        """Raises `LeadershipLost` unless this process leads."""
        if not self.leads:
            raise LeadershipLost(self._elector.epoch, self._why())

    def trouble(self) -> str:
        """Empty while we lead or wait for our turn; else what is wrong, for a probe."""
        if self._elector.standing is Standing.LOST:
            return self._why()
        return "" if self.leads or not self._elector.last_error else self._elector.last_error

    def describe(self) -> str:
        """How it stands, in a few words."""
        if self.leads:
            return f"leading with epoch {self._elector.epoch}"
        return f"waiting for {self._elector.holder or 'the lease'}"

    @property
    def name(self) -> str:
        """Of the Lease."""
        return self._elector.name

    def ended(self) -> str:
        """Why the candidacy is over, for a probe of health; empty before and while it goes on."""
        over = self._thread.ident is not None and not self._thread.is_alive()
        return "" if not over or self._stopping.is_set() else self._why()

    def _why(self) -> str:
        holder = self._elector.holder
        if holder not in ("", self._elector.identity):
            return f"{holder} holds the lease {self._elector.namespace}/{self._elector.name}"
        return f"the lease was not renewed in time; {self._elector.last_error or 'the process stood still'}"

    # --- the candidacy ------------------------------------------------------------------------------

    def start(self, acquired: Callable[[], None], failed: Failed) -> None:
        """Begin; ``acquired`` is called once we lead, ``failed`` when that is over."""
        self._acquired, self._failed = acquired, failed
        self._thread.start()

    def stop(self) -> None:
        """Make no further attempt; the lease stays ours until `release`, or until it expires."""
        self._stopping.set()

    def release(self, timeout_seconds: float) -> None:
        """Let go of the lease, after everything that needed it has ended."""
        self.stop()
        if self._thread.ident is None:
            return
        self._thread.join(timeout_seconds)
        with self._lock:
            ask = self._elector.release(self._clock.monotonic(), self._clock.now())
        if ask is None or self._thread.is_alive():
            return
        try:
            self._call(ask)
        except (ApiError, OSError) as error:
            _LOGGER.warning("lease not released", extra=fields(error=str(error)))
        else:
            _LOGGER.info("lease released", extra=fields(lease=self._elector.name))
        self.on_standing(False)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._advance()
            except LogUnavailable as error:
                self._step_down(error)
            except StaleEpoch as error:
                # Somebody led the log beyond our Lease; a process that starts anew takes a higher epoch.
                self._failed(error)
                return
            except Exception as error:
                _LOGGER.exception("election failed")
                with self._lock:
                    self._elector.hold_off(error, self._clock.monotonic())
            self._tell()
            if self._elector.standing is Standing.LOST:
                self.on_standing(False)
                self._failed(LeadershipLost(self._elector.epoch, self._why()))
                return

    def _advance(self) -> None:
        with self._lock:
            now = self._clock.monotonic()
            action = self._elector.next_action(now, self._clock.now())
        if not isinstance(action, Ask):
            self._stopping.wait(min(max(action.until - now, 0.0), LONGEST_WAIT_SECONDS))
            return
        try:
            lease = self._call(action)
        except (ApiError, OSError) as error:
            with self._lock:
                self._elector.on_error(action, error, self._clock.monotonic())
            return
        with self._lock:
            self._elector.on_lease(action, lease, self._clock.monotonic())
        if self._elector.standing is Standing.LEADER and not self._ready:
            self._take_over()

    def _take_over(self) -> None:
        """Raise the fence before anything is done: from here on the log refuses the former leader."""
        self._log.lead(self._family, self._elector.epoch)
        self._ready = True
        self.on_standing(True)
        extra = fields(lease=self._elector.name, identity=self._elector.identity, epoch=self._elector.epoch)
        _LOGGER.info("became leader", extra=extra)
        self._acquired()

    def _step_down(self, error: LogUnavailable) -> None:
        """Before it has led, this process can let others try: they may reach the log."""
        with self._lock:
            now = self._clock.monotonic()
            ask = None if self._ready else self._elector.step_down(error, now, self._clock.now())
            if ask is None:
                self._elector.hold_off(error, now)
                return
        _LOGGER.warning("lease given back", extra=fields(lease=self._elector.name, error=str(error)))
        # A call that fails only makes the others wait until the lease expires.
        with contextlib.suppress(ApiError, OSError):
            self._call(ask)

    def _call(self, ask: Ask) -> Object:
        if ask.verb is Verb.GET or ask.body is None:
            return self._api.get(LEASES, self._elector.name, self._elector.namespace)
        if ask.verb is Verb.CREATE:
            return self._api.create(LEASES, ask.body, self._elector.namespace)
        return self._api.update(LEASES, ask.body)

    def _tell(self) -> None:
        """Who leads, and what is wrong; once for each change."""
        told = (self._elector.holder, self._elector.last_error)
        if told == self._told:
            return
        if told[1] and told[1] != self._told[1]:
            _LOGGER.warning("lease not reached", extra=fields(lease=self._elector.name, error=told[1]))
        if told[0] not in (self._told[0], self._elector.identity):
            _LOGGER.info("leader seen", extra=fields(lease=self._elector.name, holder=told[0] or None))
        self._told = told
