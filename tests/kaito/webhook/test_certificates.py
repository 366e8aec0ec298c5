"""Key pairs: what is made, and what is found wrong with others."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kaito.webhook.certificates import Pair, Terms, expiry, fault, issue, names_of, readable, signer
from tests.builders import EPOCH

NAMES = frozenset({"webhook", "webhook.ns.svc", "127.0.0.1"})
TERMS = Terms()
SKEW = TERMS.skew
PAIR = issue(NAMES, EPOCH, TERMS)
STRANGER = issue(NAMES, EPOCH, TERMS)


def test_new_pair_is_without_fault() -> None:
    assert fault(PAIR, NAMES, EPOCH, SKEW) == ""
    assert names_of(PAIR.certificate) == NAMES
    assert expiry(PAIR.certificate) == EPOCH + timedelta(days=365)
    assert PAIR.key not in repr(PAIR)


def test_new_pair_is_ecdsa_for_servers_only() -> None:
    certificate = x509.load_pem_x509_certificate(PAIR.certificate.encode())

    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_authorities_differ_in_name() -> None:
    """Else a client would try the one for the other's certificates."""
    ours, theirs = (x509.load_pem_x509_certificate(p.authority.encode()).subject for p in (PAIR, STRANGER))

    assert ours != theirs


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (timedelta(hours=-3), "is not valid before"),
        (timedelta(hours=-1.9), ""),
        (timedelta(days=364), ""),
        (timedelta(days=365), "the certificate expired at 2025-04-05T18:29:58+00:00"),
        (timedelta(days=3650), "the certificate expired at"),
    ],
)
def test_time_makes_a_pair_useless(after: timedelta, text: str) -> None:
    found = fault(PAIR, NAMES, EPOCH + after, SKEW)

    assert found.find(text) >= 0
    assert bool(found) is bool(text)


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (Pair("", "", ""), "not a certificate, its key and its authority in PEM (ValueError)"),
        (Pair("ä", "x", "\0"), "not a certificate, its key and its authority in PEM"),
        (msgspec.structs.replace(PAIR, key=STRANGER.key), "the key is not that of the certificate"),
        (msgspec.structs.replace(PAIR, authority=""), "not a certificate"),
        (msgspec.structs.replace(PAIR, authority=STRANGER.authority), "not a certificate"),
        (issue({"webhook"}, EPOCH, TERMS), "the certificate lacks the names 127.0.0.1, webhook.ns.svc"),
        (
            issue(NAMES, EPOCH, TERMS, lambda: ec.generate_private_key(ec.SECP521R1())),
            "the key is neither ECDSA nor RSA of at least 2048 bits",
        ),
    ],
)
def test_unusable_pair_is_told(pair: Pair, text: str) -> None:
    assert text in fault(pair, NAMES, EPOCH, SKEW)


def test_signer_is_found_in_a_bundle() -> None:
    bundle = readable(f"junk {STRANGER.authority} junk {PAIR.authority}{PAIR.authority}")

    assert bundle == [STRANGER.authority, PAIR.authority]
    assert signer(PAIR.certificate, bundle) == PAIR.authority
    assert signer(PAIR.certificate, bundle[:1]) == ""


def test_terms_that_never_end_are_refused() -> None:
    with pytest.raises(ValueError, match="renew_before, valid"):
        Terms(valid=timedelta(days=1), renew_before=timedelta(days=1))
