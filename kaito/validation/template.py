"""A user's pod template, as far as the operator takes it apart; the rest is for the API server to judge."""

from __future__ import annotations

from typing import Any, TypeVar

from kaito.api.errors import Finding, describe, printable

Kind = TypeVar("Kind", dict[str, Any], list[Any], str)

_PATH = "inference.template"
_TYPES: dict[type, str] = {dict: "a mapping", list: "a list", str: "a string"}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def template_findings(template: dict[str, Any]) -> list[Finding]:
    """What would keep the operator from making a Deployment of the template."""
    return _Inspection().template(template)


class _Inspection:
    def __init__(self) -> None:
        self._findings: list[Finding] = []

    def template(self, template: dict[str, Any]) -> list[Finding]:
        for key in template:
            if key not in ("metadata", "spec"):
                shown = printable(str(key))
                self._findings.append(Finding(f"{_PATH}.{shown}", "metadata or spec", shown))
        self._metadata(self._child(template, "metadata", _PATH, {}), f"{_PATH}.metadata")
        self._spec(self._child(template, "spec", _PATH, {}), f"{_PATH}.spec")
        return self._findings

    def _child(self, parent: dict[str, Any], key: str, path: str, empty: Kind) -> Kind:
        """The value if it has the type of ``empty``, else ``empty``, and a finding unless it is absent."""
        value = parent.get(key)
        if isinstance(value, type(empty)):
            return value
        if value is not None:
            self._findings.append(Finding(f"{path}.{key}", _TYPES[type(empty)], describe(value)))
        return empty

    def _mappings(self, parent: dict[str, Any], key: str, path: str) -> dict[str, dict[str, Any]]:
        """The items of a list by their path; those that are no mapping are reported."""
        items = {f"{path}.{key}[{i}]": item for i, item in enumerate(self._child(parent, key, path, []))}
        odd = {where: item for where, item in items.items() if not isinstance(item, dict)}
        self._findings += [Finding(where, "a mapping", describe(item)) for where, item in odd.items()]
        return {where: item for where, item in items.items() if where not in odd}

    def _metadata(self, metadata: dict[str, Any], path: str) -> None:
        for field in ("labels", "annotations"):
            for key, value in self._child(metadata, field, path, {}).items():
                if not isinstance(value, str):
                    where = f"{path}.{field}.{printable(str(key))}"
                    self._findings.append(Finding(where, "a string", describe(value)))

    def _spec(self, spec: dict[str, Any], path: str) -> None:
        if not self._child(spec, "containers", path, []):
            self._findings.append(Finding(f"{path}.containers", "at least one container", "none"))
        for where, container in self._mappings(spec, "containers", path).items():
            self._container(container, where)
        self._mappings(spec, "tolerations", path)
        affinity = self._child(spec, "affinity", path, {})
        node = self._child(affinity, "nodeAffinity", f"{path}.affinity", {})
        self._node_affinity(node, f"{path}.affinity.nodeAffinity")

    def _container(self, container: dict[str, Any], path: str) -> None:
        for field in ("name", "image"):
            if not self._child(container, field, path, "") and not container.get(field):
                self._findings.append(Finding(f"{path}.{field}", "a value", describe(container.get(field))))

    def _node_affinity(self, node: dict[str, Any], path: str) -> None:
        """It is joined with ours, so each level of it is looked at."""
        required = self._child(node, _REQUIRED, path, {})
        for where, term in self._mappings(required, "nodeSelectorTerms", f"{path}.{_REQUIRED}").items():
            self._child(term, "matchExpressions", where, [])
            self._child(term, "matchFields", where, [])
