"""Probes in the manner of the API server: ok, or which check failed and why."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from kaito.telemetry.probes import probes_application
from tests.kaito.telemetry.serving import Answer, Served


class Probes(Served):
    """Two checks of readiness and one of health; each says what a test lets it say."""

    def __init__(self) -> None:
        self.said = {"caches": "", "log": "", "workers": ""}
        readiness = {name: lambda name=name: self.said[name] for name in ("caches", "log")}
        health = {"workers": lambda: self.said["workers"]}
        super().__init__(probes_application(health=health, readiness=readiness))


@pytest.fixture(scope="module")
def serving() -> Iterator[Probes]:
    with Probes() as served:
        yield served


@pytest.fixture
def probes(serving: Probes) -> Probes:
    serving.said.update(dict.fromkeys(serving.said, ""))
    serving.get("/readyz")  # what failed in another test no longer does
    return serving


def body(answer: Answer) -> tuple[int, str]:
    return answer.code, answer.text


def test_healthy_process_says_ok(probes: Probes) -> None:
    assert [body(probes.get(f"/{path}")) for path in ("healthz", "livez", "readyz")] == [(200, "ok")] * 3


def test_verbose_names_every_check(probes: Probes) -> None:
    answer = probes.get("/readyz?verbose")

    assert body(answer) == (200, "[+]caches ok\n[+]log ok\nreadyz check passed\n")
    assert answer.content_type.startswith("text/plain")


def test_failed_check_says_why(probes: Probes) -> None:
    probes.said["log"] = "the disk\nis full"

    assert body(probes.get("/readyz")) == (
        500,
        "[+]caches ok\n[-]log failed: the disk is full\nreadyz check failed\n",
    )
    assert probes.get("/healthz").code == 200


def test_failure_is_logged_when_it_comes_and_goes(probes: Probes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    for said in ("gone", "gone", "still gone", "", ""):
        probes.said["log"] = said
        probes.get("/readyz")

    assert [record.message for record in caplog.records] == ["probe fails", "probe no longer fails"]


def test_check_can_be_asked_alone(probes: Probes) -> None:
    probes.said["log"] = "gone"

    assert body(probes.get("/readyz/caches")) == (200, "ok")
    assert probes.get("/readyz/log").code == 500
    assert body(probes.get("/readyz/unknown")) == (404, "no check unknown; there are: caches, log\n")


def test_check_can_be_left_out(probes: Probes) -> None:
    probes.said["log"] = "gone"

    assert body(probes.get("/readyz?exclude=log")) == (200, "ok")


def test_check_that_raises_has_failed() -> None:
    def broken() -> str:
        raise KeyError("secret of the process")

    with Served(probes_application(health={}, readiness={"broken": broken})) as served:
        answer = served.get("/readyz")

    assert answer.code == 500
    assert "[-]broken failed: the check itself failed: KeyError\n" in answer.text
    assert "secret" not in answer.text
