"""Where an object lives on the API server.

A name comes from outside and becomes a part of a path, so the ones that would lead somewhere else are
refused: an empty one would turn the deletion of an object into that of its collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from kaito.runtime.ports import BadRequest, Resource

DEFAULT_NAMESPACE = "default"


def collection(resource: Resource, namespace: str = "") -> str:
    """Of one namespace, or of all of them."""
    root = f"/apis/{_segment(resource.group)}" if resource.group else "/api"
    inside = f"/namespaces/{_segment(namespace)}" if namespace and resource.namespaced else ""
    return f"{root}/{_segment(resource.version)}{inside}/{_segment(resource.plural)}"


def item(resource: Resource, name: str, namespace: str = "", subresource: str = "") -> str:
    """Of one object; without a namespace it is looked for in the default one.

    Raises:
        BadRequest: The name cannot be a part of a path.
    """
    below = f"/{_segment(subresource)}" if subresource else ""
    return f"{home(resource, namespace)}/{_segment(name)}{below}"


def home(resource: Resource, namespace: str = "") -> str:
    """The collection in which a single object lives."""
    return collection(resource, namespace or DEFAULT_NAMESPACE)


def query(parameters: Mapping[str, object]) -> str:
    """As it stands in the URL, with its question mark; parameters that are empty or 0 are left out."""
    given = {name: value for name, value in parameters.items() if value}
    return f"?{urlencode(given, quote_via=quote)}" if given else ""


def _segment(text: str) -> str:
    # The rule of the API server: these would be resolved by somebody on the way.
    if not text:
        raise BadRequest("name must be provided")
    if text in (".", "..") or "/" in text or "%" in text:
        raise BadRequest(f"expected a name without '/' and '%' that is neither '.' nor '..', found {text!r}")
    return quote(text, safe="")
