"""Replicas on a virtual API server: they agree, they rotate, and they heal what others break."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kaito.runtime.ports import ApiError, Unavailable
from kaito.webhook import certificates, configuration, secret
from kaito.webhook.certificates import Terms
from kaito.webhook.resources import CONFIGURATIONS, SECRETS
from kaito.webhook.secret import Bundle
from simulator.cluster import Cluster
from tests.kaito.webhook.world import (
    NAMES,
    NAMESPACE,
    PROPAGATION_SECONDS,
    HandClock,
    Replica,
    a_cluster,
    a_configuration,
    encoded,
    set_secret_data,
    the_configuration,
    the_secret,
    trusted,
)

HOUR = 3600.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def cluster(clock: HandClock) -> Cluster:
    return a_cluster(clock)


@pytest.fixture
def replica(cluster: Cluster, clock: HandClock) -> Replica:
    return Replica(cluster, clock)


def bundle(cluster: Cluster) -> Bundle:
    return secret.read(the_secret(cluster))


def test_first_replica_fills_both_objects(cluster: Cluster, replica: Replica) -> None:
    replica.run()

    pair = bundle(cluster).pair
    assert replica.installed == [pair]
    assert trusted(cluster) == (pair.authority,)
    assert replica.keeper.trouble() == ""
    assert replica.keeper.expires_at() == certificates.expiry(pair.certificate)


def test_absent_secret_is_made(cluster: Cluster, clock: HandClock) -> None:
    """By one of two that find it absent at the same time; the other takes what is there."""
    cluster.delete(SECRETS, secret.NAME, NAMESPACE)
    one, two = Replica(cluster, clock), Replica(cluster, clock)
    for step_of_one, step_of_two in zip(one.keeper.steps, two.keeper.steps, strict=True):
        step_of_one()
        step_of_two()

    one.run()
    two.run()

    assert one.keeper.serving == two.keeper.serving == bundle(cluster).pair


def test_what_is_complete_is_not_written(replica: Replica) -> None:
    replica.run()
    replica.api.calls.clear()

    replica.run()

    assert replica.api.writes == []


def test_published_certificate_is_taken_over(cluster: Cluster, clock: HandClock, replica: Replica) -> None:
    """It has seven days; ours follows it as soon as it is trusted, without a gap."""
    old = certificates.issue(NAMES, clock.now(), Terms(timedelta(hours=24), timedelta(0)))
    texts = {secret.KEY: old.key, secret.CERTIFICATE: old.certificate, secret.AUTHORITIES: old.authority}
    set_secret_data(cluster, {key: encoded(text) for key, text in texts.items()} | {"else": "eA=="})

    replica.run()
    first = replica.keeper.serving
    clock.advance(PROPAGATION_SECONDS)
    replica.run()

    assert first == old
    assert replica.keeper.serving == bundle(cluster).pair != old
    assert set(trusted(cluster)) == {old.authority, bundle(cluster).pair.authority}
    assert the_secret(cluster)["data"]["else"] == "eA=="


def test_rotation_goes_in_three_phases(cluster: Cluster, clock: HandClock, replica: Replica) -> None:
    replica.run()
    old = bundle(cluster).pair
    clock.advance(76 * HOUR)

    wait = replica.run()
    announced = bundle(cluster)
    clock.advance(PROPAGATION_SECONDS)
    replica.run()
    switched = bundle(cluster)
    clock.advance(26 * HOUR)
    replica.run()

    assert announced.pair == old
    assert announced.following is not None
    assert wait is not None
    assert wait <= PROPAGATION_SECONDS
    assert (switched.pair, switched.following) == (announced.following, None)
    assert set(switched.authorities) == {old.authority, switched.pair.authority}
    assert trusted(cluster) == (switched.pair.authority,)
    assert replica.installed == [old, switched.pair]


def test_nothing_is_switched_without_trust(cluster: Cluster, clock: HandClock, replica: Replica) -> None:
    """The configuration may not be written, or is not there: what is served stays."""
    replica.run()
    old = replica.keeper.serving
    replica.api.forbidden.add(f"update {CONFIGURATIONS.plural}")
    clock.advance(76 * HOUR)

    for _ in range(3):
        with pytest.raises(ApiError):
            replica.run()
        clock.advance(HOUR)

    assert replica.keeper.serving == bundle(cluster).pair == old
    assert replica.keeper.trouble() == ""


def test_expired_certificate_is_replaced_at_once(
    cluster: Cluster, clock: HandClock, replica: Replica
) -> None:
    replica.run()
    clock.advance(101 * HOUR)
    trouble = replica.keeper.trouble()

    replica.run()

    assert "expired" in trouble
    assert replica.keeper.trouble() == ""
    assert replica.keeper.serving == bundle(cluster).pair


@pytest.mark.parametrize("data", [{}, {secret.KEY: "%%", secret.CERTIFICATE: "", secret.AUTHORITIES: ""}])
def test_blanked_secret_costs_no_request(
    cluster: Cluster, clock: HandClock, replica: Replica, data: dict[str, str]
) -> None:
    """What is served stays until its successor is trusted, although the Secret has forgotten it."""
    replica.run()
    old = replica.keeper.serving
    assert old is not None
    set_secret_data(cluster, data)

    replica.run()
    meanwhile = replica.keeper.serving
    clock.advance(PROPAGATION_SECONDS)
    replica.run()

    assert meanwhile == old
    assert replica.keeper.serving == bundle(cluster).pair != old
    assert set(trusted(cluster)) == {old.authority, bundle(cluster).pair.authority}


def test_emptied_configuration_is_filled_again(cluster: Cluster, replica: Replica) -> None:
    replica.run()
    emptied = {**a_configuration(), "metadata": the_configuration(cluster)["metadata"]}
    cluster.update(CONFIGURATIONS, emptied)

    replica.run()

    assert trusted(cluster) == (bundle(cluster).pair.authority,)


def test_absent_configuration_is_looked_for(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    cluster = a_cluster(clock, configured=False)
    replica = Replica(cluster, clock)
    replica.run()
    replica.run()
    trouble = replica.keeper.trouble()

    cluster.create(CONFIGURATIONS, a_configuration())
    replica.run()

    assert trouble == caplog.messages[0]
    assert caplog.messages.count(trouble) == 1
    assert configuration.NAME in trouble
    assert replica.keeper.trouble() == ""


def test_lost_call_is_no_lost_object(cluster: Cluster, clock: HandClock, replica: Replica) -> None:
    replica.run()
    replica.api.fault = Unavailable("no answer")
    clock.advance(HOUR)

    with pytest.raises(Unavailable):
        replica.run()

    assert replica.keeper.trouble() == ""


def test_renamed_service_does_not_start_a_fight(cluster: Cluster, clock: HandClock) -> None:
    """While a release under another name is rolled out, one certificate serves both."""
    old = Replica(cluster, clock)
    old.run()
    new = Replica(cluster, clock, names=frozenset({"renamed"}))

    new.run()
    old.run()
    clock.advance(PROPAGATION_SECONDS)
    old.api.calls.clear()
    new.api.calls.clear()
    new.run()
    old.run()

    assert certificates.names_of(bundle(cluster).pair.certificate) == NAMES | {"renamed"}
    assert (old.api.writes, new.api.writes) == ([], [])
    assert old.keeper.serving == new.keeper.serving


def test_keys_stand_in_no_log(cluster: Cluster, replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0):
        replica.run()

    told = " ".join(str(vars(record)) for record in caplog.records)
    assert "Updating webhook" in told
    assert "PRIVATE KEY" not in told + repr(replica.keeper.serving)
