"""What Azure answers when it refuses, in its own words, with the numbers of the case.

Clients classify by these codes and texts, so each is spelled as Azure spells it (spec/provisioner.md §4.5).
An error appears either in a response, as a `Refusal`, or as the end of a long-running operation, as a
`Complaint`; its words are the same.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Complaint(msgspec.Struct, frozen=True):
    """An error in Azure's words."""

    code: str
    message: str
    details: tuple[dict[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "details": list(self.details)}


class Refusal(Exception):
    """A response that is no success.

    Attributes:
        flat: Whether the body is AKS's own flat form; else ARM's, under ``error``.
        retry_after_seconds: For the header; None leaves it out.
    """

    def __init__(
        self,
        status: int,
        complaint: Complaint,
        *,
        flat: bool = True,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(f"{status} {complaint.code}: {complaint.message}")
        self.status = status
        self.complaint = complaint
        self.flat = flat
        self.retry_after_seconds = retry_after_seconds

    def document(self) -> dict[str, Any]:
        error = self.complaint.document()
        return {**error, "subcode": ""} if self.flat else {"error": error}


class Dropped(Exception):
    """The connection is reset: the client has no answer. What was asked for may have been done."""


class Garbled(Exception):
    """The answer is not what the protocol promises; the body is what arrives instead."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:40]}")
        self.status = status
        self.body = body


def by_arm(status: int, code: str, message: str, retry_after_seconds: int | None = None) -> Refusal:
    """A refusal by Resource Manager itself, before the AKS service has heard of the request."""
    return Refusal(status, Complaint(code, message), flat=False, retry_after_seconds=retry_after_seconds)


def by_aks(status: int, code: str, message: str, retry_after_seconds: int | None = None) -> Refusal:
    return Refusal(status, Complaint(code, message), retry_after_seconds=retry_after_seconds)


# --- requests that are not as they should be ------------------------------------------------------------


def invalid_parameter(parameter: str, why: str) -> Refusal:
    text = f"The value of parameter {parameter} is invalid. Error details: {why}."
    return by_aks(
        400, "InvalidParameter", f"{text} Please see https://aka.ms/aks-naming-rules for more details."
    )


def property_change(parameter: str) -> Refusal:
    text = f"Changing property '{parameter}' is not allowed."
    return Refusal(400, Complaint("PropertyChangeNotAllowed", text))


def size_not_allowed(size: str, location: str) -> Refusal:
    text = (
        f"The VM size of {size} is not allowed in your subscription in location '{location}'. For more "
        "details on restricted VM sizes, please visit: https://aka.ms/cpu-quota"
    )
    return by_aks(400, "VMSizeNotSupported", text)


def pool_not_found(pool_id: str) -> Refusal:
    resource = pool_id.partition("/providers/")[2]
    text = f"The Resource '{resource}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    return by_aks(404, "NotFound", text)


def operation_not_found(operation: str) -> Refusal:
    return by_aks(404, "NotFound", f"The entity was not found: operation {operation}.")


def precondition_failed(pool: str) -> Refusal:
    return by_aks(412, "PreconditionFailed", f"The condition of the request on agent pool {pool} is not met.")


def too_many_pools(limit: int) -> Refusal:
    text = f"The number of agent pools would exceed the maximum of {limit} agent pools of a managed cluster."
    return by_aks(400, "MaxAgentPoolCountReached", text)


def last_system_pool() -> Refusal:
    return by_aks(400, "OperationNotAllowed", "There has to be at least one system agent pool.")


# --- who may do what ------------------------------------------------------------------------------------


def refused_by_policy(pool_id: str) -> Refusal:
    name = pool_id.rpartition("/")[2]
    text = f"Resource '{name}' was disallowed by policy. Policy identifiers: '[\"allowed-sizes\"]'."
    return by_arm(403, "RequestDisallowedByPolicy", text)


def refused_by_role(pool_id: str, action: str) -> Refusal:
    text = (
        "The client does not have authorization to perform action "
        f"'Microsoft.ContainerService/managedClusters/agentPools/{action}' over scope '{pool_id}' or the "
        "scope is invalid. If access was recently granted, please refresh your credentials."
    )
    return by_arm(403, "AuthorizationFailed", text)


# --- something else is going on -------------------------------------------------------------------------


def pool_operation_in_progress(pool: str, state: str) -> Refusal:
    text = (
        f"Operation is not allowed: Another agentpool operation ({pool} - {state}) is in progress, please "
        "wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation for "
        "more details"
    )
    return by_aks(409, "OperationNotAllowed", text)


def cluster_operation_in_progress() -> Refusal:
    text = (
        "Operation is not allowed: Another operation (Updating) is in progress, please wait for it to finish "
        "before starting a new operation. See https://aka.ms/aks-pending-operation for more details"
    )
    return by_aks(409, "OperationNotAllowed", text)


def only_deletion_is_allowed(pool: str) -> Refusal:
    text = (
        f"Operation is not allowed on agent pool {pool} since deletion was issued. The only allowed "
        "operation is deletion."
    )
    return by_aks(409, "OperationNotAllowed", text)


def throttled_by_aks(retry_after_seconds: int | None) -> Refusal:
    text = (
        "The request is throttled by AKS, too many requests for this agent pool API. See "
        "https://aka.ms/aks-throttling for more details."
    )
    return by_aks(429, "Throttled", text, retry_after_seconds)


def throttled_by_arm(kind: str, retry_after_seconds: int | None) -> Refusal:
    text = f"Number of {kind} requests for subscription exceeded the limit. Please try again after some time."
    return by_arm(429, "SubscriptionRequestsThrottled", text, retry_after_seconds)


def outage() -> Refusal:
    text = "The server is currently unable to handle the request. Please try again later."
    return by_arm(503, "ServiceUnavailable", text)


def internal_error(correlation: str) -> Complaint:
    text = f"We are unable to serve this request due to an internal error, Correlation ID: {correlation}."
    return Complaint("InternalServerError", text)


# --- what operations end with ---------------------------------------------------------------------------


def allocation_failed(size: str, zone: str) -> Complaint:
    if zone:
        text = (
            "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone. "
            "Read more about improving likelihood of allocation success at https://aka.ms/allocation-guidance"
        )
        return Complaint("ZonalAllocationFailed", text)
    text = (
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this region "
        f"({size}). Read more about improving likelihood of allocation success at https://aka.ms/allocation-guidance"
    )
    return Complaint("AllocationFailed", text)


def overconstrained(size: str, zone: str) -> Complaint:
    text = (
        "Create or update VMSS failed. Allocation failed. VM(s) with the following constraints cannot be "
        "allocated, because the condition is too restrictive. Please remove some constraints and try again. "
        f"Constraints applied are: - Differencing (Ephemeral) Disks - Networking Constraints - VM Size "
        f"({size})"
    )
    code = "OverconstrainedZonalAllocationRequest" if zone else "OverconstrainedAllocationRequest"
    return Complaint(code, text)


def sku_not_available(size: str, location: str) -> Complaint:
    text = (
        f"The requested VM size {size} is currently not available in location '{location}'. Please try "
        "another size or deploy to a different location or different zone."
    )
    return Complaint("SkuNotAvailable", text)


def bootstrap_failed(exit_code: int) -> Complaint:
    text = (
        "VM has reported a failure when processing extension 'vmssCSE' (publisher "
        "'Microsoft.Azure.Extensions' and type 'CustomScript'). Error message: 'Enable failed: failed to "
        f"execute command: command terminated with exit status={exit_code}'."
    )
    return Complaint("VMExtensionProvisioningError", text)


def preempted(by_delete: bool) -> Complaint:
    code = "AKSOperationPreemptedByDelete" if by_delete else "AKSOperationPreempted"
    return Complaint(code, "The operation was superseded by a newer operation on the same agent pool.")


def wrapped(inner: Complaint) -> Complaint:
    """The same failure as the agent pool reconciler reports it, misspelling included."""
    text = (
        f"VMSSAgentPoolReconciler retry failed: Category: InternalError; SubCode: {inner.code}; Dependency: "
        f'Microsoft.Compute/VirtualMachineScaleSet; OrginalError: Code="{inner.code}" '
        f'Message="{inner.message}"; AKSTeam: NodeProvisioning, Retriable: true'
    )
    return Complaint("ReconcileVMSSAgentPoolFailed", text)
