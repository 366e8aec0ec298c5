"""The body of a PUT, read and checked as AKS checks it: what is wrong is refused before anything begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from simulator import names
from simulator.azure.refusals import Refusal, by_arm, invalid_parameter
from simulator.azure.sizes import SIZE

POOL_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
DISK_LIMITS_GB = (30, 2048)
MOST_NODES = 1000
MOST_TAGS = 50
ZONES = ("1", "2", "3")
SPOT_LABEL = "kubernetes.azure.com/scalesetpriority"

_RESERVED = "kubernetes.azure.com/"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_TAG_NAME_LENGTH, _TAG_VALUE_LENGTH = 512, 256
_NOT_IN_TAG_NAMES = re.compile(r"[<>%&\\?/]")
_LARGEST_INT32 = 2**31 - 1


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """What a PUT asks for."""

    vm_size: str
    count: int = 1
    os_disk_gb: int = 0
    mode: str = "User"
    labels: Mapping[str, str] = {}
    taints: tuple[str, ...] = ()
    tags: Mapping[str, str] = {}
    zones: tuple[str, ...] = ()
    spot: bool = False


def read(name: str, body: object) -> Requested:
    """The request in a PUT's body.

    Raises:
        Refusal: 400, with the first fault that AKS would complain of.
    """
    if not POOL_NAME.fullmatch(name):
        pattern = "^[a-z][a-z0-9]{0,11}$"
        raise invalid_parameter("agentPool.name", f"The agent pool name '{name}' must match {pattern}")
    properties = body.get("properties") if isinstance(body, Mapping) else None
    if not isinstance(properties, Mapping):
        raise by_arm(400, "InvalidRequestContent", "The request content was invalid: properties are missing.")
    spot = _choice(properties, "scaleSetPriority", ("Regular", "Spot"), "Regular") == "Spot"
    labels = _labels(_texts(properties, "nodeLabels"), spot=spot)
    taints = _taints(_list(properties, "nodeTaints"))
    _choice(properties, "type", ("VirtualMachineScaleSets",), "VirtualMachineScaleSets")
    _choice(properties, "osType", ("Linux",), "Linux")
    return Requested(
        vm_size=_size(properties),
        count=_count(properties),
        os_disk_gb=_disk(properties),
        mode=_choice(properties, "mode", ("System", "User"), "User"),
        labels={**labels, SPOT_LABEL: "spot"} if spot else labels,
        taints=(*taints, f"{SPOT_LABEL}=spot:NoSchedule") if spot else taints,
        tags=_tags(_texts(properties, "tags")),
        zones=_zones(_list(properties, "availabilityZones")),
        spot=spot,
    )


def _size(properties: Mapping[str, Any]) -> str:
    size = properties.get("vmSize")
    if not isinstance(size, str) or not SIZE.fullmatch(size):
        raise invalid_parameter("agentPool.vmSize", f"expected the name of a size, found {size!r}")
    return size


def _count(properties: Mapping[str, Any]) -> int:
    count = _integer(properties, "count", 1)
    if not 0 <= count <= MOST_NODES:
        raise invalid_parameter("agentPool.count", f"expected 0 to {MOST_NODES}, found {count}")
    return count


def _disk(properties: Mapping[str, Any]) -> int:
    disk = _integer(properties, "osDiskSizeGB", 0)
    low, high = DISK_LIMITS_GB
    if disk != 0 and not low <= disk <= high:
        why = f"expected 0 or {low} to {high}, found {disk}"
        raise invalid_parameter("agentPool.osDiskSizeGB", why)
    return disk


def _labels(labels: Mapping[str, str], *, spot: bool) -> dict[str, str]:
    for key, value in labels.items():
        if complaint := names.label_key(key) or names.label_value(value):
            raise invalid_parameter("agentPool.nodeLabels", f"{key}={value}: {complaint}")
        if key.startswith(_RESERVED) and not (spot and key == SPOT_LABEL):
            raise invalid_parameter("agentPool.nodeLabels", f"{key}: the prefix {_RESERVED} is reserved")
    return dict(labels)


def _taints(taints: tuple[str, ...]) -> tuple[str, ...]:
    for taint in taints:
        pair, colon, effect = taint.rpartition(":")
        key, _, value = pair.partition("=")
        fits = colon and effect in _EFFECTS and not (names.label_key(key) or names.label_value(value))
        if not fits:
            raise invalid_parameter("agentPool.nodeTaints", f"expected key=value:effect, found {taint}")
    return tuple(taint for taint in taints if not taint.startswith(f"{SPOT_LABEL}="))


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > MOST_TAGS:
        raise invalid_parameter("tags", f"expected at most {MOST_TAGS} tags, found {len(tags)}")
    for name, value in tags.items():
        if _NOT_IN_TAG_NAMES.search(name) or not 0 < len(name) <= _TAG_NAME_LENGTH:
            raise by_arm(400, "InvalidTagNameCharacters", f"The tag name '{name}' has reserved characters.")
        if len(value) > _TAG_VALUE_LENGTH:
            raise by_arm(400, "InvalidTagValue", f"The value of tag '{name}' exceeds the maximum length.")
    return dict(tags)


def _zones(zones: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [zone for zone in zones if zone not in ZONES]
    if unknown:
        why = f"expected some of {', '.join(ZONES)}, found {unknown[0]}"
        raise invalid_parameter("agentPool.availabilityZones", why)
    return zones


def _integer(properties: Mapping[str, Any], field: str, default: int) -> int:
    value = properties.get(field)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_INT32 + 1:
        raise _malformed(field, "a 32-bit integer", value)
    return value


def _choice(properties: Mapping[str, Any], field: str, known: tuple[str, ...], default: str) -> str:
    value = properties.get(field) or default
    if value not in known:
        raise invalid_parameter(f"agentPool.{field}", f"expected {' or '.join(known)}, found {value!r}")
    return str(value)


def _texts(properties: Mapping[str, Any], field: str) -> Mapping[str, str]:
    value = properties.get(field) or {}
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
        raise _malformed(field, "a mapping of texts", value)
    return value


def _list(properties: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = properties.get(field) or ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise _malformed(field, "a list of texts", value)
    return tuple(value)


def _malformed(field: str, expected: str, found: object) -> Refusal:
    text = f"The request content was invalid: properties.{field}: expected {expected}, found {found!r}."
    return by_arm(400, "InvalidRequestContent", text)
