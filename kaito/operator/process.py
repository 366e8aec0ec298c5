"""The workspace operator as a live process: the Workspace controller, wired to a manager."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaito.catalogue import Catalogue
from kaito.manager.controller import Controller
from kaito.manager.election import Election
from kaito.manager.informers import Informers, LiveApi
from kaito.manager.manager import Manager, Service
from kaito.manager.narration import NarratedLog
from kaito.operator.configuration import WORKERS
from kaito.runtime.executor import Executor
from kaito.runtime.keys import NAME_LABEL
from kaito.runtime.leading import writing
from kaito.runtime.mapping import KeysOf
from kaito.runtime.observer import CACHED, Observer
from kaito.runtime.ports import NODES, PODS, Clock
from kaito.runtime.reconciler import Reconciler
from kaito.runtime.repository import Repository
from kaito.runtime.settings import Settings
from store.records import EventLog

SELECTORS = {PODS: NAME_LABEL}
"""Of the pods of a cluster only those of Workspaces are kept: all others would cost memory for nothing."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """``identity`` tells this process from others: in the log's appends, and in the jitter of its retries."""

    identity: str
    workers: int = WORKERS
    settings: Settings = Settings()


def new_manager(
    api: LiveApi,
    log: EventLog,
    catalogue: Catalogue,
    clock: Clock,
    options: Options,
    *,
    election: Election | None = None,
    services: Sequence[Service] = (),
) -> Manager:
    """Everything wired, nothing started.

    Args:
        election: Without one the process takes itself for the only one.
    """
    informers = Informers(
        api, CACHED, clock, options.identity, (NAME_LABEL,), SELECTORS, selected_by_any=(NODES,)
    )
    led = writing(api, election)
    narrated = NarratedLog(log)
    epoch = (lambda: 0) if election is None else election.epoch
    repository = Repository(narrated, options.identity, epoch)
    observer = Observer(informers.caches, catalogue, options.settings)
    executor = Executor(led, catalogue, options.settings, clock)
    reconciler = Reconciler(led, observer, repository, executor, clock)
    controller = Controller(
        "workspace",
        informers.caches,
        KeysOf(),
        reconciler.reconcile,
        clock,
        workers=options.workers,
        unfinished=repository.open_keys,
    )
    informers.add_handler(controller.notice)
    return Manager(informers, [controller], [], clock, election=election, services=services)
