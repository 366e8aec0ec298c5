"""The metrics that a process serves, as a scraper reads them."""

from __future__ import annotations

import re
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.processes import KaitoProcess

_FLAGS = ("--metrics-bind-address=127.0.0.1:", "--metrics-port=")


def metric(process: KaitoProcess, name: str, **labels: str) -> float:
    """The sum of all samples of this name that bear these labels; 0 without one."""
    with urllib.request.urlopen(f"http://127.0.0.1:{_port(process)}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def _port(process: KaitoProcess) -> int:
    (found,) = [each for each in process.arguments if each.startswith(_FLAGS)]
    return int(re.split("[:=]", found)[-1])
