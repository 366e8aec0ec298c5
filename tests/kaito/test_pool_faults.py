"""Every row of the error catalogue, the forms its texts come in, and that nothing makes the reading raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.runtime.fault_texts import error_in, exit_code_in, nested_errors, quota_in
from kaito.runtime.faults import CATALOGUE, POOL_EXISTS, TEXTS, UNREADABLE, error_of, fault_of
from kaito.runtime.pool_reading import operation_of, pool_of, pool_state
from kaito.runtime.pools import OperationState, PoolNotFound, PoolRefused, PoolState, PoolUnanswered
from statemachine.state import BlockedReason

CURRENT_LIMIT = (
    "Operation could not be completed as it results in exceeding approved standardNCSv3Family Cores quota. "
    "Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 100, "
    "Current Usage: 96, Additional Required: 64, (Minimum) New Limit Required: 160. Submit a request for "
    "Quota increase"
)
MAXIMUM_ALLOWED = (
    "Operation results in exceeding quota limits of Core. Maximum allowed: 10, Current in use: 4, Additional "
    "requested: 12."
)
INSUFFICIENT = (
    "Insufficient vcpu quota requested 12, remaining 0 for family standardNCSv3Family for region eastus."
)
RECONCILE_FAILED = (
    "VMSSAgentPoolReconciler retry failed: Category: InternalError; SubCode: {code}; Dependency: "
    'Microsoft.Compute/VirtualMachineScaleSet; OrginalError: Code="{code}" Message="{message}"; '
    "AKSTeam: NodeProvisioning, Retriable: true"
)
CSE_FAILED = (
    "VM has reported a failure when processing extension 'vmssCSE' (publisher 'Microsoft.AKS'). Error "
    'message: "Enable failed: failed to execute command: command terminated with exit status={code}".'
)


@pytest.mark.parametrize(("code", "fragment", "reason", "terminal"), CATALOGUE)
def test_each_row_names_its_reason(code: str, fragment: str, reason: BlockedReason, terminal: bool) -> None:
    fault = fault_of(code.upper(), f"The request was refused: {fragment.upper()}, see the article.")

    assert (fault.reason, fault.terminal) == (reason, terminal)


@pytest.mark.parametrize(("fragment", "reason", "terminal"), TEXTS)
def test_text_decides_for_unknown_codes(fragment: str, reason: BlockedReason, terminal: bool) -> None:
    fault = fault_of("SomethingNew", f"It is said that {fragment} today.")

    assert (fault.code, fault.reason, fault.terminal) == ("SomethingNew", reason, terminal)


def test_no_row_is_hidden_by_another() -> None:
    for index, (code, fragment, _, _) in enumerate(CATALOGUE):
        wider = [row for row in CATALOGUE[:index] if row[0] == code and row[1] in fragment]
        assert wider == []


@pytest.mark.parametrize(
    ("status", "reason", "terminal"),
    [
        (400, BlockedReason.CONFIGURATION_INVALID, True),
        (401, BlockedReason.NOT_AUTHORIZED, False),
        (403, BlockedReason.NOT_AUTHORIZED, True),
        (409, BlockedReason.OPERATION_IN_PROGRESS, False),
        (429, BlockedReason.THROTTLED, False),
        (500, BlockedReason.PROVIDER_FAULT, False),
        (None, BlockedReason.LAUNCH_FAILED, False),
        (200, BlockedReason.LAUNCH_FAILED, False),
    ],
)
def test_status_decides_where_nothing_else_does(
    status: int | None, reason: BlockedReason, terminal: bool
) -> None:
    fault = fault_of("SomethingNew", "A text nobody has seen.", status=status)

    assert (fault.reason, fault.terminal) == (reason, terminal)


@pytest.mark.parametrize(
    ("code", "text", "family", "limit", "used", "needed"),
    [
        ("OperationNotAllowed", CURRENT_LIMIT, "standardNCSv3Family", 100, 96, 64),
        ("QuotaExceeded", MAXIMUM_ALLOWED, "", 10, 4, 12),
        ("ErrCode_InsufficientVCPUQuota", INSUFFICIENT, "standardNCSv3Family", None, None, 12),
    ],
)
def test_quota_numbers_are_read(
    code: str, text: str, family: str, limit: int | None, used: int | None, needed: int
) -> None:
    fault = fault_of(code, text)

    assert fault.reason == BlockedReason.QUOTA_EXCEEDED
    assert (fault.family, fault.limit, fault.used, fault.needed) == (family, limit, used, needed)


@pytest.mark.parametrize(
    ("words", "family"), [("Total Regional Cores", "Total Regional"), ("LowPriorityCores", "LowPriority")]
)
def test_quota_of_no_family_is_named(words: str, family: str) -> None:
    found = quota_in(CURRENT_LIMIT.replace("standardNCSv3Family Cores", words))

    assert found is not None
    assert found.family == family


def test_remaining_quota_is_told_apart() -> None:
    found = quota_in(INSUFFICIENT)

    assert found is not None
    assert (found.remaining, found.limit) == (0, None)


def test_absurd_quota_numbers_are_not_read() -> None:
    fault = fault_of("QuotaExceeded", MAXIMUM_ALLOWED.replace("10", "1" * 5000))

    assert (fault.reason, fault.limit) == (BlockedReason.QUOTA_EXCEEDED, None)


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("AllocationFailed", "We do not have sufficient capacity", BlockedReason.INSUFFICIENT_CAPACITY),
        ("OperationNotAllowed", CURRENT_LIMIT, BlockedReason.QUOTA_EXCEEDED),
        ("VMExtensionProvisioningError", CSE_FAILED.format(code=50), BlockedReason.NODE_BOOTSTRAP_FAILED),
        ("SubnetIsFull", "no addresses", BlockedReason.CONFIGURATION_INVALID),
    ],
)
def test_wrapped_code_decides(code: str, message: str, reason: BlockedReason) -> None:
    text = RECONCILE_FAILED.format(code=code, message=message)

    fault = fault_of("ReconcileVMSSAgentPoolFailed", text)

    assert (fault.code, fault.reason) == (code, reason)
    assert fault.message.startswith(text)


def test_wrapper_of_something_unknown_is_the_services() -> None:
    fault = fault_of("ReconcileVMSSAgentPoolFailed", "it went wrong", status=200)

    assert fault.reason == BlockedReason.PROVIDER_FAULT


def test_details_decide_and_are_told() -> None:
    details = [{"code": "Conflict", "details": [{"code": "OperationNotAllowed", "message": CURRENT_LIMIT}]}]

    fault = fault_of("DeploymentFailed", "At least one resource operation failed.", details)

    assert (fault.code, fault.reason, fault.needed) == (
        "OperationNotAllowed",
        BlockedReason.QUOTA_EXCEEDED,
        64,
    )
    assert fault.message.startswith("At least one resource operation failed.")
    assert CURRENT_LIMIT in fault.message


def test_details_are_followed_so_far_only() -> None:
    deep: Any = {"code": "AllocationFailed"}
    for _ in range(100_000):
        deep = {"code": "Conflict", "details": [deep] * 2}

    assert len(nested_errors(deep, "")) < 1000


def test_exit_code_is_explained() -> None:
    fault = fault_of("VMExtensionProvisioningError", CSE_FAILED.format(code=84))

    assert exit_code_in(fault.message) == 84
    assert fault.message.endswith("(the GPU driver did not start)")


def test_unknown_exit_code_stays_as_told() -> None:
    text = CSE_FAILED.format(code=99)

    assert fault_of("VMExtensionProvisioningError", text).message == text


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("17", 17.0), (0, 0.0), (2.5, 2.5), ("soon", None), (None, None), ("-1", None), ("nan", None)],
)
def test_retry_after_is_told_in_seconds(given: object, seconds: float | None) -> None:
    fault = fault_of("Throttled", "", status=429, retry_after=given)

    assert (fault.reason, fault.retry_after_seconds) == (BlockedReason.THROTTLED, seconds)


def test_failed_precondition_means_pool_exists() -> None:
    by_status = error_of(412, "PreconditionFailed", "The condition was not met.")

    assert isinstance(by_status, PoolRefused)
    assert (by_status.fault.code, by_status.fault.terminal) == (POOL_EXISTS, True)


@pytest.mark.parametrize("code", ["NotFound", "ResourceNotFound", "AgentPoolNotFound", ""])
def test_missing_pool_is_an_answer(code: str) -> None:
    text = "The Resource 'Microsoft.ContainerService/managedClusters/c/agentPools/p' was not found."

    assert isinstance(error_of(404, code, text), PoolNotFound)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ResourceGroupNotFound", "Resource group 'typo' could not be found."),
        ("SubscriptionNotFound", "The subscription could not be found."),
        ("ResourceNotFound", "The Resource 'Microsoft.ContainerService/managedClusters/typo' was not found."),
    ],
)
def test_wrong_address_is_no_missing_pool(code: str, text: str) -> None:
    error = error_of(404, code, text)

    assert isinstance(error, PoolRefused)
    assert error.fault.reason == BlockedReason.CONFIGURATION_INVALID


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, ""), (404, ""), (502, "BadGateway"), (504, "GatewayTimeout"), (408, "Timeout"), (0, "")],
)
def test_answer_from_the_way_is_none(status: int, code: str) -> None:
    assert isinstance(error_of(status, code), PoolUnanswered)


def test_internal_error_with_text_is_refusal() -> None:
    error = error_of(500, "InternalServerError", "We are unable to serve this request.", retry_after="30")

    assert isinstance(error, PoolRefused)
    assert error.fault.reason == BlockedReason.PROVIDER_FAULT
    assert error.fault.retry_after_seconds == 30


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "C", "message": "M", "details": [{"code": "D"}]}},
        {"code": "C", "message": "M", "details": [{"code": "D"}], "subcode": ""},
        b'{"code": "C", "message": "M", "details": [{"code": "D"}]}',
    ],
)
def test_both_shapes_of_body_are_read(body: object) -> None:
    error = error_in(body)

    assert error is not None
    assert (error.code, error.message, error.details) == ("C", "M", [{"code": "D"}])


@pytest.mark.parametrize(
    "body", [b"<html>busy</html>", b"\xff\xfe", "", None, [], {}, {"error": "no"}, "[" * 10**5]
)
def test_unreadable_body_is_no_error(body: object) -> None:
    assert error_in(body) is None


def test_error_without_code_says_so() -> None:
    fault = fault_of("", "", status=500)

    assert (fault.code, fault.message) == (UNREADABLE, "the service gave no text")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("code", "message", "details", "error", "status", "properties", "name"))
            | st.text(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    code=JSON | st.sampled_from([row[0] for row in CATALOGUE]),
    message=JSON | st.text(max_size=300),
    details=JSON,
    status=st.none() | st.integers(0, 700),
    retry_after=JSON,
)
def test_nothing_makes_classification_raise(
    code: Any, message: Any, details: Any, status: int | None, retry_after: Any
) -> None:
    fault = fault_of(code, message, details, status, retry_after)
    error = error_of(status or 0, code, message, details, retry_after)

    assert BlockedReason(fault.reason)
    assert fault.code
    assert fault.message
    assert isinstance(error, PoolNotFound | PoolRefused | PoolUnanswered)


@given(document=JSON)
def test_nothing_makes_reading_raise(document: Any) -> None:
    assert pool_of(document).state in PoolState
    assert operation_of("url", document).url == "url"
    error_in(document)


@pytest.mark.parametrize("state", PoolState)
def test_provisioning_state_is_read_in_any_case(state: PoolState) -> None:
    assert pool_state(str(state).upper()) == state


def test_invented_provisioning_state_is_unknown() -> None:
    assert pool_state("Reticulating") == PoolState.UNKNOWN
    assert pool_of({"name": "p", "properties": None}).state == PoolState.UNKNOWN


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("succeeded", OperationState.SUCCEEDED),
        ("FAILED", OperationState.FAILED),
        ("Canceled", OperationState.CANCELED),
        ("Reticulating", OperationState.IN_PROGRESS),
        (None, OperationState.IN_PROGRESS),
    ],
)
def test_operation_status_is_read(status: object, state: OperationState) -> None:
    assert operation_of("url", {"status": status}).state == state


def test_failed_operation_always_tells_fault() -> None:
    told = operation_of("url", {"status": "Failed", "error": {"code": "AllocationFailed", "message": "full"}})
    silent = operation_of("url", {"status": "Failed"})

    assert told.fault is not None
    assert told.fault.reason == BlockedReason.INSUFFICIENT_CAPACITY
    assert silent.fault is not None
    assert silent.fault.reason == BlockedReason.LAUNCH_FAILED


def test_pool_document_is_read_whole() -> None:
    document = {
        "name": "ws1",
        "properties": {
            "provisioningState": "Failed",
            "vmSize": "Standard_NC12s_v3",
            "tags": {"kaito.sh_machine": "ws1"},
            "nodeLabels": {"apps": "falcon"},
            "count": 2,
            "mode": "System",
            "eTag": "e1",
            "status": {"provisioningError": {"code": "SubnetIsFull", "message": "full"}},
        },
    }

    pool = pool_of(document)

    assert (pool.name, pool.state, pool.vm_size, pool.owner) == (
        "ws1",
        PoolState.FAILED,
        "Standard_NC12s_v3",
        "ws1",
    )
    assert (pool.labels, pool.count, pool.mode, pool.etag) == ({"apps": "falcon"}, 2, "System", "e1")
    assert pool.fault is not None
    assert pool.fault.code == "SubnetIsFull"
