"""The syntax of names, label keys and label values, with the texts the real server refuses them by.

Each check returns the complaint, empty when there is none; the caller adds the path and the value.
"""

from __future__ import annotations

import re
from functools import lru_cache

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253


def subdomain(text: str) -> str:
    """DNS-1123 subdomain: the name of most objects."""
    if len(text) > SUBDOMAIN_LENGTH:
        return f"must be no more than {SUBDOMAIN_LENGTH} characters"
    if re.fullmatch(_SUBDOMAIN, text):
        return ""
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
        "must start and end with an alphanumeric character "
        f"(e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
    )


def label(text: str) -> str:
    """DNS-1123 label: a namespace."""
    if len(text) > LABEL_LENGTH:
        return f"must be no more than {LABEL_LENGTH} characters"
    if re.fullmatch(_LABEL, text):
        return ""
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character "
        f"(e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
    )


def service_name(text: str) -> str:
    """DNS-1035 label: a Service, whose name is the host part of a DNS record."""
    if len(text) > LABEL_LENGTH:
        return f"must be no more than {LABEL_LENGTH} characters"
    if re.fullmatch(_DNS1035, text):
        return ""
    return (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character "
        f"(e.g. 'my-name',  or 'abc-123', regex used for validation is '{_DNS1035}')"
    )


@lru_cache(maxsize=4096)
def label_key(text: str) -> str:
    """A qualified name, ``[prefix/]name``: keys of labels and annotations, and finalizers."""
    prefix, slash, name = text.rpartition("/")
    if slash and (complaint := "must be non-empty" if not prefix else subdomain(prefix)):
        return f"prefix part {complaint}"
    if not name:
        return "name part must be non-empty"
    if len(name) > LABEL_LENGTH:
        return f"name part must be no more than {LABEL_LENGTH} characters"
    if re.fullmatch(_QUALIFIED, name):
        return ""
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character "
        f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
    )


@lru_cache(maxsize=4096)
def label_value(text: str) -> str:
    if len(text) > LABEL_LENGTH:
        return f"must be no more than {LABEL_LENGTH} characters"
    if re.fullmatch(_VALUE, text):
        return ""
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
        "must start and end with an alphanumeric character "
        f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
    )
