"""`kaito provisioner`: the gpu-provisioner as a process in a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

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
)
from kaito.manager.logs import LogFormat, fields
from kaito.process.equipment import equip
from kaito.process.forms import InvalidConfiguration
from kaito.process.identity import new_identity
from kaito.process.leadership import Candidacy, read_candidacy
from kaito.process.opening import Cluster, logged, run_until_stopped
from kaito.provisioner.configuration import AzureConfiguration, read_configuration
from kaito.provisioner.process import CONTROLLER, FAMILY, WORKERS, Options, new_manager
from kaito.provisioner.published import ProcessConfiguration, read_process
from kaito.runtime.leading import writing
from kaito.telemetry.processes import ProvisionerTelemetry
from store.errors import LogUnavailable
from store.memory import MemoryEventLog
from store.opening import open_log

if TYPE_CHECKING:
    from store.log import SqlEventLog

_LOGGER = logging.getLogger(__name__)

_C = TypeVar("_C")

MOST_WORKERS = 1000

LEASE_NAME = "karpenter-leader-election"
"""That of the published provisioner."""


def _text(flag: str, metavar: str, variable: str) -> typer.models.OptionInfo:
    """An option that is checked together with its variable, and not by Typer."""
    option: typer.models.OptionInfo = typer.Option(
        flag, metavar=metavar, help=f"Instead of ${variable}.", show_default=False
    )
    return option


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command line that was found right."""

    azure: AzureConfiguration
    process: ProcessConfiguration
    candidacy: Candidacy | None
    log: str
    workers: int
    dry_run: bool
    cluster: Cluster


def provisioner(
    log: LogUrl = DEFAULT_LOG,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Threads that reconcile Machines.")
    ] = WORKERS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, say what would be done, change nothing.")
    ] = False,
    log_format: LogLines = LogFormat.AUTO,
    kubeconfig: Kubeconfig = None,
    context: KubeContext = None,
    subscription_id: Annotated[str, _text("--subscription-id", "ID", "ARM_SUBSCRIPTION_ID")] = "",
    resource_group: Annotated[str, _text("--resource-group", "NAME", "ARM_RESOURCE_GROUP")] = "",
    cluster_name: Annotated[str, _text("--cluster-name", "NAME", "AZURE_CLUSTER_NAME")] = "",
    tenant_id: Annotated[str, _text("--tenant-id", "ID", "AZURE_TENANT_ID")] = "",
    node_resource_group: Annotated[
        str, _text("--node-resource-group", "NAME", "AZURE_NODE_RESOURCE_GROUP")
    ] = "",
    location: Annotated[str, _text("--location", "REGION", "LOCATION")] = "",
    client_id: Annotated[str, _text("--client-id", "ID", "AZURE_CLIENT_ID")] = "",
    federated_token_file: Annotated[
        str, _text("--federated-token-file", "FILE", "AZURE_FEDERATED_TOKEN_FILE")
    ] = "",
    authority_host: Annotated[str, _text("--authority-host", "URL", "AZURE_AUTHORITY_HOST")] = "",
    cloud: Annotated[str, _text("--cloud", "NAME", "ARM_CLOUD")] = "",
    api_version: Annotated[str, _text("--api-version", "DATE", "AZURE_API_VERSION")] = "",
    arm_endpoint: Annotated[str, _text("--arm-endpoint", "URL", "KAITO_ARM_ENDPOINT")] = "",
    metrics_port: Annotated[str, _text("--metrics-port", "PORT", "METRICS_PORT")] = "",
    health_probe_port: Annotated[str, _text("--health-probe-port", "PORT", "HEALTH_PROBE_PORT")] = "",
    leader_elect: Annotated[
        bool | None,
        typer.Option(
            "--leader-elect/--no-leader-elect", help="Instead of $LEADER_ELECT.", show_default=False
        ),
    ] = None,
    leader_elect_resource_name: LeaseName = "",
    leader_elect_resource_namespace: LeaseNamespace = "",
    leader_elect_lease_duration: LeaseDuration = "",
    leader_elect_renew_deadline: RenewDeadline = "",
    leader_elect_retry_period: RetryPeriod = "",
    kube_client_qps: Annotated[str, _text("--kube-client-qps", "N", "KUBE_CLIENT_QPS")] = "",
    kube_client_burst: Annotated[str, _text("--kube-client-burst", "N", "KUBE_CLIENT_BURST")] = "",
) -> None:
    """Run the GPU provisioner: Machines become agent pools and nodes, and go again."""
    azure_flags = {
        "subscription_id": subscription_id,
        "resource_group": resource_group,
        "cluster_name": cluster_name,
        "tenant_id": tenant_id,
        "node_resource_group": node_resource_group,
        "location": location,
        "client_id": client_id,
        "federated_token_file": federated_token_file,
        "authority_host": authority_host,
        "cloud": cloud,
        "api_version": api_version,
        "endpoint": arm_endpoint,
    }
    process_flags = {
        "metrics_port": metrics_port,
        "health_probe_port": health_probe_port,
        "leader_elect": "" if leader_elect is None else str(leader_elect),
        "kube_client_qps": kube_client_qps,
        "kube_client_burst": kube_client_burst,
    }
    lease_flags = {
        "lease_name": leader_elect_resource_name,
        "namespace": leader_elect_resource_namespace,
        "lease_seconds": leader_elect_lease_duration,
        "renew_seconds": leader_elect_renew_deadline,
        "retry_seconds": leader_elect_retry_period,
    }
    faults: list[str] = []
    if not 1 <= workers <= MOST_WORKERS:
        faults.append(f"--workers: expected a number from 1 to {MOST_WORKERS}, found {workers}")
    azure = _read(lambda: read_configuration(os.environ, azure_flags), faults)
    process = _read(lambda: read_process(os.environ, process_flags), faults)
    candidacy = None
    if (process is None or process.leader_elect) and not dry_run:
        candidacy = read_candidacy(LEASE_NAME, os.environ, lease_flags, faults)
    if faults or azure is None or process is None:
        raise InvalidConfiguration(faults)
    request = Request(
        azure=azure,
        process=process,
        candidacy=candidacy,
        log=log,
        workers=workers,
        dry_run=dry_run,
        cluster=Cluster("kaito-provisioner", kubeconfig, context),
    )
    if code := logged(log_format, lambda: _run(request)):
        raise typer.Exit(code)


def _read(read: Callable[[], _C], faults: list[str]) -> _C | None:
    try:
        return read()
    except InvalidConfiguration as error:
        faults += error.messages
        return None


def _run(request: Request) -> int:
    """Open what is needed, in the order in which it can fail without leaving anything behind."""
    from kaito.provisioner import azure

    clock = WallClock()
    with ExitStack() as stack:
        pools = stack.enter_context(closing(azure.connect(request.azure, clock)))
        telemetry = ProvisionerTelemetry(clock)
        # The collector calls too, beside the workers.
        api = request.cluster.client(stack, telemetry, request.workers + 1)
        log = _opened(request, clock)
        stack.callback(log.close)
        options = Options(identity=new_identity(clock), workers=request.workers, dry_run=request.dry_run)
        election = request.cluster.election(stack, log, request.candidacy, FAMILY, options.identity, clock)
        recorder = telemetry.recorder(writing(api, election), options.identity)
        observed = telemetry.observed(log, [] if request.dry_run else [recorder])
        measured = telemetry.pools.measured(pools, CONTROLLER, clock)
        manager = new_manager(api, measured, observed, clock, options, election=election)
        equip(manager, telemetry, log, clock, request.process.addresses, election=election)
        if not request.dry_run:
            manager.add_service(recorder)
        _announce(request, options)
        return run_until_stopped(manager, stack)


def _opened(request: Request, clock: WallClock) -> SqlEventLog | MemoryEventLog:
    """The log; in a dry run, a copy of it in memory, which the run may write to."""
    if not request.dry_run:
        return open_log(request.log, clock.now, create=True)
    copy = MemoryEventLog(clock.now)
    try:
        with open_log(request.log, clock.now, create=False) as log:
            copy.extend(log.rows())
    except LogUnavailable as error:
        _LOGGER.warning("dry run without a history", extra=fields(error=str(error)))
    return copy


def _announce(request: Request, options: Options) -> None:
    """What runs and, in a line of its own, what the environment asks for in vain."""
    _LOGGER.info(
        "provisioner starts",
        extra=fields(
            version=metadata.version("kaito-operator"),
            identity=options.identity,
            cluster=request.azure.cluster_name,
            resource_group=request.azure.resource_group,
            workers=request.workers,
            dry_run=request.dry_run or None,
        ),
    )
    if unserved := request.process.unserved():
        _LOGGER.warning("not served by this release", extra=fields(asked_for=unserved))
