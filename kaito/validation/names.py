"""Names and labels: what the API server would refuse later, on objects made from the Workspace."""

from __future__ import annotations

import re
from functools import lru_cache

from kaito.api.errors import one_line, printable
from kaito.api.meta import ObjectMeta, SelectorNotFlat
from kaito.api.workspace import ResourceSpec
from kaito.catalogue.entries import Preset
from kaito.validation.messages import Report

LONGEST_NAME = 63
"""A label value, a container name and a Service name (a DNS-1035 label) have at most this many characters."""

LONGEST_STATEFULSET_NAME = 52
"""The controller-revision-hash label of its pods is the name, a hyphen and up to ten digits, 63 at most.

The headless Service, nine characters longer than the Workspace, fits as well then.
"""

GENERATED_SUFFIX = 5
"""Characters the API server appends to a ``generateName``."""

OPERATOR_DOMAINS = ("kaito.sh", "karpenter.sh")

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)


def check_name(metadata: ObjectMeta, preset: Preset | None, report: Report) -> None:
    """The Workspace's name is that of its Service, workload and container, and a label value."""
    name = metadata.name
    if not name:
        _check_prefix(metadata.generate_name, preset, report)
        return
    limit = _longest(preset)
    if not _DNS_LABEL.fullmatch(name):
        report.invalid(f"{printable(name)}, {_FORM}", "metadata.name")
    if len(name) > limit:
        report.invalid(f"{printable(name)}, {_too_long(len(name), limit, preset)}", "metadata.name")


_FORM = (
    "the Service and the container take this name, so it must have only lower-case letters, digits and "
    "hyphens, begin with a letter and not end with a hyphen"
)


def _check_prefix(prefix: str, preset: Preset | None, report: Report) -> None:
    if not prefix:
        report.missing("metadata.name")
        return
    length, limit = len(prefix) + GENERATED_SUFFIX, _longest(preset)
    if not _DNS_LABEL.fullmatch(f"{prefix}x"):
        report.invalid(f"{printable(prefix)}, {_FORM}", "metadata.generateName")
    if length > limit:
        report.invalid(f"{printable(prefix)}, {_too_long(length, limit, preset)}", "metadata.generateName")


def _longest(preset: Preset | None) -> int:
    return LONGEST_STATEFULSET_NAME if preset and preset.distributed else LONGEST_NAME


def _too_long(length: int, limit: int, preset: Preset | None) -> str:
    what = (
        f"of a Workspace with the distributed preset {preset.name} " if preset and preset.distributed else ""
    )
    return f"the name {what}may have at most {limit} characters, not {length}"


def check_selector(resource: ResourceSpec, *, gpu: bool, report: Report) -> None:
    """The selector is a plain, non-empty map of labels that the operator may give to new nodes."""
    path = "resource.labelSelector"
    try:
        labels = resource.label_selector.flattened()
    except SelectorNotFlat as error:
        report.invalid(one_line(str(error)), path)
        return
    if not labels and "label_selector" in resource.model_fields_set:
        report.invalid("an empty selector would take every node, at least one label is needed", path)
    for key in sorted(labels):
        for complaint in _label_complaints(key, labels[key], resource.instance_type, gpu):
            report.invalid(complaint, path)


def _label_complaints(key: str, value: str, instance_type: str, gpu: bool) -> list[str]:
    shown = printable(key)
    if complaint := label_complaint(key, value):
        return [complaint]
    domain = key.rpartition("/")[0]
    if any(domain == ours or domain.endswith(f".{ours}") for ours in OPERATOR_DOMAINS):
        return [f"label {shown} belongs to the operator and cannot be chosen"]
    fixed = _fixed_labels(instance_type, gpu).get(key, value)
    if fixed and fixed != value:
        return [f"label {shown} is {fixed} on the nodes of this Workspace, not {printable(value)}"]
    return []


def _fixed_labels(instance_type: str, gpu: bool) -> dict[str, str]:
    """Labels that every node of the Workspace has, with the value the cloud or the operator gives them."""
    return {
        "node.kubernetes.io/instance-type": instance_type,
        "beta.kubernetes.io/instance-type": instance_type,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        **({"accelerator": "nvidia"} if gpu else {}),
    }


@lru_cache(maxsize=1024)
def label_complaint(key: str, value: str) -> str:
    """Why this is no label, by the API server's rules; empty when it is one."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return f"label {printable(key)} has a prefix that is no domain name of at most 253 characters"
    if len(name) > 63 or not _LABEL_NAME.fullmatch(name):
        return f"label {printable(key)} has a name that is no label name of at most 63 characters"
    if len(value) > 63 or (value and not _LABEL_NAME.fullmatch(value)):
        return f"label {printable(key)} has the value {printable(value)}, which is no label value"
    return ""
