"""The syntax of names, label keys and label values, with the texts the real server refuses them by.

Each check returns all complaints, each by itself; the caller adds the path and the value.
"""

from __future__ import annotations

import re
from functools import lru_cache

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"

_QUALIFIED_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_QUALIFIED_EXAMPLES = "'MyName',  or 'my.name',  or '123-abc'"

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253


def subdomain(text: str) -> tuple[str, ...]:
    """DNS-1123 subdomain: the name of most objects."""
    return _complaints(
        text,
        SUBDOMAIN_LENGTH,
        _SUBDOMAIN,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
        "must start and end with an alphanumeric character",
        "'example.com'",
    )


def label(text: str) -> tuple[str, ...]:
    """DNS-1123 label: a namespace."""
    return _complaints(
        text,
        LABEL_LENGTH,
        _LABEL,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character",
        "'my-name',  or '123-abc'",
    )


def service_name(text: str) -> tuple[str, ...]:
    """DNS-1035 label: a Service, whose name is the host part of a DNS record."""
    return _complaints(
        text,
        LABEL_LENGTH,
        _DNS1035,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character",
        "'my-name',  or 'abc-123'",
    )


@lru_cache(maxsize=4096)
def label_key(text: str) -> tuple[str, ...]:
    """A qualified name, ``[prefix/]name``: keys of labels and annotations, and finalizers."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return (
            f"a qualified name {_QUALIFIED_RULE} (e.g. {_QUALIFIED_EXAMPLES}, regex used for validation is "
            f"'{_QUALIFIED}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    found = [f"prefix part {each}" for each in _prefix_complaints(prefix)] if slash else []
    if not name:
        found.append("name part must be non-empty")
    rest = _complaints(name, LABEL_LENGTH, _QUALIFIED, _QUALIFIED_RULE, _QUALIFIED_EXAMPLES)
    return (*found, *(f"name part {each}" for each in rest))


@lru_cache(maxsize=4096)
def label_value(text: str) -> tuple[str, ...]:
    return _complaints(
        text,
        LABEL_LENGTH,
        _VALUE,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
        "must start and end with an alphanumeric character",
        "'MyValue',  or 'my_value',  or '12345'",
    )


def _prefix_complaints(prefix: str) -> tuple[str, ...]:
    return subdomain(prefix) if prefix else ("must be non-empty",)


def _complaints(text: str, longest: int, pattern: str, rule: str, examples: str) -> tuple[str, ...]:
    """That it is too long, and that it breaks the rule; each for itself, as the real server counts them."""
    found = []
    if len(text) > longest:
        found.append(f"must be no more than {longest} characters")
    if not re.fullmatch(pattern, text):
        found.append(f"{rule} (e.g. {examples}, regex used for validation is '{pattern}')")
    return tuple(found)
