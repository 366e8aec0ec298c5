"""`kaito operator`: the workspace controller as a process in a cluster."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kaito.catalogue import Catalogue
from kaito.clock import WallClock
from kaito.commands.options import DEFAULT_LOG, LogUrl
from kaito.commands.process_options import (
    Kubeconfig,
    KubeContext,
    LeaseDuration,
    LeaseName,
    LeaseNamespace,
    LogLines,
    RenewDeadline,
    RetryPeriod,
    setting,
)
from kaito.manager.logs import LogFormat, fields
from kaito.operator.configuration import FAMILY, OperatorConfiguration, read_operator
from kaito.operator.process import Options, new_manager
from kaito.process.equipment import equip
from kaito.process.identity import new_identity
from kaito.process.opening import Cluster, logged, run_until_stopped
from kaito.runtime.leading import writing
from kaito.telemetry.processes import OperatorTelemetry
from store.opening import open_log

if TYPE_CHECKING:
    from kaito.runtime.ports import Clock, KubeApi
    from kaito.webhook.process import Webhook

_LOGGER = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command line that was found right."""

    configuration: OperatorConfiguration
    catalogue: Catalogue
    log: str
    cluster: Cluster


def operator(
    log: LogUrl = DEFAULT_LOG,
    workers: Annotated[str, setting("--workers", "N", "Threads that reconcile Workspaces; 5.")] = "",
    metrics_bind_address: Annotated[
        str, setting("--metrics-bind-address", "ADDRESS", "Of /metrics; :8080, 0 for none.")
    ] = "",
    health_probe_bind_address: Annotated[
        str, setting("--health-probe-bind-address", "ADDRESS", "Of /healthz and /readyz; :8081, 0 for none.")
    ] = "",
    leader_elect: Annotated[
        bool, typer.Option("--leader-elect/--no-leader-elect", help="Act only while holding the Lease.")
    ] = True,
    leader_elect_resource_name: LeaseName = "",
    leader_elect_resource_namespace: LeaseNamespace = "",
    leader_elect_lease_duration: LeaseDuration = "",
    leader_elect_renew_deadline: RenewDeadline = "",
    leader_elect_retry_period: RetryPeriod = "",
    webhook: Annotated[
        bool, typer.Option("--webhook/--no-webhook", help="Serve admission in this process.")
    ] = True,
    machine_slow_after: Annotated[
        str, setting("--machine-slow-after", "DURATION", "When a Machine is told to be slow; 4m.")
    ] = "",
    machine_timeout: Annotated[
        str, setting("--machine-timeout", "DURATION", "When a Machine is told to be late; 15m.")
    ] = "",
    presets: Annotated[
        Path | None, typer.Option("--presets", metavar="DIR", help="Your own presets, one file each.")
    ] = None,
    log_format: LogLines = LogFormat.AUTO,
    kubeconfig: Kubeconfig = None,
    context: KubeContext = None,
) -> None:
    """Run the workspace operator: Workspaces get their nodes and their inference workload."""
    flags = {
        "workers": workers,
        "metrics": metrics_bind_address,
        "probes": health_probe_bind_address,
        "leader_elect": str(leader_elect),
        "lease_name": leader_elect_resource_name,
        "namespace": leader_elect_resource_namespace,
        "lease_seconds": leader_elect_lease_duration,
        "renew_seconds": leader_elect_renew_deadline,
        "retry_seconds": leader_elect_retry_period,
        "webhook": str(webhook),
        "machine_slow_after": machine_slow_after,
        "machine_timeout": machine_timeout,
    }
    request = Request(
        configuration=read_operator(os.environ, flags),
        catalogue=Catalogue.load(presets),
        log=log,
        cluster=Cluster("kaito-operator", kubeconfig, context),
    )
    if code := logged(log_format, lambda: _run(request)):
        raise typer.Exit(code)


def _run(request: Request) -> int:
    """Open what is needed, in the order in which it can fail without leaving anything behind."""
    clock = WallClock()
    configuration = request.configuration
    with ExitStack() as stack:
        telemetry = OperatorTelemetry(clock)
        api = request.cluster.client(stack, telemetry, configuration.workers)
        log = open_log(request.log, clock.now, create=True)
        stack.callback(log.close)
        options = Options(
            identity=new_identity(clock), workers=configuration.workers, settings=configuration.settings
        )
        election = request.cluster.election(
            stack, log, configuration.candidacy, FAMILY, options.identity, clock
        )
        recorder = telemetry.recorder(writing(api, election), options.identity)
        observed = telemetry.observed(log, [recorder])
        manager = new_manager(api, observed, request.catalogue, clock, options, election=election)
        webhook = _webhook(request, api, clock, options.identity, telemetry)
        more = {} if webhook is None else {"webhook": webhook.ready}
        equip(manager, telemetry, log, clock, configuration.addresses, election=election, more=more)
        manager.add_service(recorder)
        if webhook is not None:
            manager.add_service(webhook)
        _announce(request, options)
        return run_until_stopped(manager, stack)


def _webhook(
    request: Request, api: KubeApi, clock: Clock, identity: str, telemetry: OperatorTelemetry
) -> Webhook | None:
    """Admission, which every replica serves whether it leads or not."""
    asked = request.configuration.webhook
    if asked is None:
        return None
    from kaito.webhook import process

    options = process.Options(
        service=asked.service,
        namespace=asked.namespace,
        port=asked.port,
        tls_min_version=asked.tls_min_version,
        other_names=asked.extra_names,
    )
    webhook = process.new_webhook(
        api,
        request.catalogue,
        clock,
        options,
        random=Random(f"{identity}/webhook"),
        observe=telemetry.admission.judged,
    )
    telemetry.admission.follow(lambda: webhook.certificate_expires_at)
    return webhook


def _announce(request: Request, options: Options) -> None:
    """What runs and, in a line of its own, what the environment asks for in vain."""
    candidacy = request.configuration.candidacy
    _LOGGER.info(
        "operator starts",
        extra=fields(
            version=metadata.version("kaito-operator"),
            identity=options.identity,
            lease=None if candidacy is None else f"{candidacy.namespace}/{candidacy.name}",
            workers=options.workers,
        ),
    )
    if unserved := request.configuration.unserved():
        _LOGGER.warning("not served by this release", extra=fields(asked_for=unserved))
