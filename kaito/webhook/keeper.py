"""Keeps the Secret, the certificate that is served and the configuration in step: one replica's part.

A round is five small steps, each at most one call. Each write names the resourceVersion that was read, so
that a replica which slept between two steps can undo nothing.

Both objects are read by name at an interval. A watch would need the right to watch, a stream and its
upkeep for each; two reads in ten seconds cost less and heal the same things.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from kaito.manager.logs import fields
from kaito.runtime.ports import AlreadyExists, ApiError, Clock, Conflict, KubeApi, NotFound, Object
from kaito.webhook import certificates, configuration, secret
from kaito.webhook.certificates import Pair
from kaito.webhook.resources import CONFIGURATIONS, NAMESPACES, SECRETS
from kaito.webhook.rotation import Decision, Issue, Memory, Rules, decide

_LOGGER = logging.getLogger(__name__)

_ABSENT = f"the webhook configuration {configuration.NAME} is absent or has no webhook of that name"


class Keeper:
    """One replica.

    Args:
        namespace: Where the Secret lives, and the owner of the configuration.
        install: Takes the pair that is to be served from now on.
        issue: The source of new pairs.
    """

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        namespace: str,
        rules: Rules,
        install: Callable[[Pair], None],
        issue: Issue | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self._rules = rules
        self._install = install
        self._issue = issue or (lambda names, now: certificates.issue(names, now, rules.terms))
        self._memory = Memory()
        self._configuration: Object | None = None
        self._is_known = False
        self._secret: Object | None = None
        self._owner: Object | None = None
        self._decision = Decision(self._memory, ())
        self._again = False
        self._errors: list[ApiError] = []
        self._told = ""

    @property
    def serving(self) -> Pair | None:
        return self._memory.serving

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        """A round, in its order; between them other replicas may do what they like."""
        return (
            self.read_configuration,
            self.read_secret,
            self.decide,
            self.write_configuration,
            self.write_secret,
        )

    def round(self) -> float | None:
        """Seconds until there is something to do even if nothing changes; 0 for at once.

        Raises:
            ApiError: A call was refused or failed; what did not need it has been done.
        """
        self._errors.clear()
        for step in self.steps:
            step()
        if self._errors:
            raise self._errors[0]
        return 0.0 if self._again else self._decision.wait_seconds

    def trouble(self) -> str:
        """Why requests are not answered or not trusted, empty if they are."""
        serving = self._memory.serving
        if serving is None:
            return "there is no certificate yet"
        if why := certificates.fault(serving, (), self._clock.now(), self._rules.terms.skew):
            return why
        if self._is_known and configuration.trusted(self._configuration) is None:
            return _ABSENT
        if serving.authority not in self._memory.trusted_since:
            return f"the webhook configuration {configuration.NAME} does not trust the certificate yet"
        return ""

    def expires_at(self) -> datetime | None:
        """When the certificate that is served ends to be valid."""
        serving = self._memory.serving
        return certificates.expiry(serving.certificate) if serving else None

    # --- the steps ----------------------------------------------------------------------------------

    def read_configuration(self) -> None:
        """Without an answer, what was known stays known: a lost call must not look like a lost object."""
        self._again = False
        try:
            self._configuration = self._api.get(CONFIGURATIONS, configuration.NAME)
        except NotFound:
            self._configuration = None
        except ApiError as error:
            self._errors.append(error)
            return
        self._is_known = True
        self._tell(_ABSENT if configuration.trusted(self._configuration) is None else "")

    def read_secret(self) -> None:
        try:
            self._secret = self._api.get(SECRETS, secret.NAME, self._namespace)
        except NotFound:
            self._secret = None

    def decide(self) -> None:
        trusted = configuration.trusted(self._configuration)
        decision = decide(
            secret.read(self._secret),
            trusted if self._is_known else tuple(self._memory.trusted_since),
            self._memory,
            self._clock.now(),
            self._clock.monotonic(),
            self._rules,
            self._issue,
        )
        pair = decision.memory.serving
        if pair is not None and pair != self._memory.serving:
            self._install(pair)
            ends = certificates.expiry(pair.certificate).isoformat()
            _LOGGER.info("serving a certificate", extra=fields(certificate=repr(pair), expires=ends))
        self._decision, self._memory = decision, decision.memory

    def write_configuration(self) -> None:
        found = self._configuration
        if found is None or configuration.trusted(found) is None:
            return
        completed = configuration.completed(found, self._decision.authorities, self._namespace_object())
        if completed == found:
            return
        self._write("Updating webhook", lambda: self._api.update(CONFIGURATIONS, completed))

    def write_secret(self) -> None:
        bundle = self._decision.bundle
        if bundle is None:
            return
        body = secret.written(bundle, self._secret, self._namespace)
        why = self._decision.why
        if self._secret is None:
            self._write(
                "creating the certificate", lambda: self._api.create(SECRETS, body, self._namespace), why
            )
        else:
            self._write("updating the certificate", lambda: self._api.update(SECRETS, body), why)

    # --- their parts --------------------------------------------------------------------------------

    def _write(self, what: str, call: Callable[[], Object], why: str = "") -> None:
        """Write once; whoever was quicker is right, and what is there now is looked at at once."""
        try:
            call()
        except (AlreadyExists, Conflict):
            self._again = True
        except ApiError as error:
            self._errors.append(error)
        else:
            _LOGGER.info(what, extra=fields(why=why or None))
            self._again = True

    def _namespace_object(self) -> Object | None:
        """Our namespace, asked for until there is an answer: it stays the same as long as we live in it."""
        if self._owner is None:
            try:
                self._owner = self._api.get(NAMESPACES, self._namespace)
            except ApiError as error:
                _LOGGER.debug("no owner for the configuration", extra=fields(error=error.message))
        return self._owner

    def _tell(self, state: str) -> None:
        """A state once, not with every look at it."""
        if state and state != self._told:
            _LOGGER.warning(state)
        self._told = state
