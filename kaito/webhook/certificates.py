"""Key pairs of the webhook: making them, reading what was found, and saying what is wrong with it.

Each server certificate is signed by an authority made for it alone, whose key is thrown away at once. So no
key that could sign anything is ever stored, and to trust an authority is to trust that one certificate, for
as long as it is valid.

`now` is passed in, and so is the source of keys; texts never quote a key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANIZATION = "kaito.sh"

KeySource = Callable[[], ec.EllipticCurvePrivateKey]


class Terms(msgspec.Struct, frozen=True):
    """How long certificates live.

    Attributes:
        renew_before: Its end, a certificate's successor is made: with a quarter of its life left.
        skew: How far the clocks of this process, of its replicas and of the API server may be apart.

    Raises:
        ValueError: A new certificate would be due at once, and so for ever.
    """

    valid: timedelta = timedelta(days=365)
    renew_before: timedelta = timedelta(days=90)
    skew: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.renew_before < self.valid:
            found = f"{self.renew_before} and {self.valid}"
            raise ValueError(f"renew_before, valid: expected the first to be the shorter one, found {found}")


class Pair(msgspec.Struct, frozen=True):
    """PEM texts: a certificate with the authority that signed it, and the certificate's key."""

    certificate: str
    key: str
    authority: str

    def __repr__(self) -> str:
        return f"Pair({fingerprint(self.certificate)})"


def new_key() -> ec.EllipticCurvePrivateKey:
    """ECDSA on P-256: every TLS client takes it, and it is made within a millisecond."""
    return ec.generate_private_key(ec.SECP256R1())


def issue(names: Collection[str], now: datetime, terms: Terms, keys: KeySource = new_key) -> Pair:
    """A new authority and the one certificate that it ever signs.

    Args:
        names: DNS names and IP addresses; the longest DNS name below 64 characters is the common name too.
    """
    authority_key, server_key = keys(), keys()
    begin, end = now - terms.skew, now + terms.valid
    serial = x509.random_serial_number()
    # Two authorities of one name and different keys would be tried for each other's certificates.
    authority_name = _name(f"webhook authority {serial:x}"[:64])
    authority = _authority(authority_name, authority_key, begin, end)
    builder = _builder(_name(_common_name(names)), server_key.public_key(), authority_name, begin, end)
    for extension, critical in _server_extensions(names, server_key, authority_key):
        builder = builder.add_extension(extension, critical)
    certificate = builder.serial_number(serial).sign(authority_key, hashes.SHA256())
    return Pair(_pem(certificate), _pem_of_key(server_key), _pem(authority))


def fault(pair: Pair, names: Iterable[str], now: datetime, skew: timedelta) -> str:
    """Why the pair cannot be served, empty if it can; it may begin to be valid so much later than now."""
    try:
        certificate, authority = _read(pair.certificate), _read(pair.authority)
        key = serialization.load_pem_private_key(pair.key.encode(), None)
        public = key.public_key()
        certificate.verify_directly_issued_by(authority)
    except InvalidSignature:
        return "the certificate was not signed by the authority beside it"
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"not a certificate, its key and its authority in PEM ({type(error).__name__})"
    if public != certificate.public_key():
        return "the key is not that of the certificate"
    if not _is_strong(key):
        return "the key is neither ECDSA nor RSA of at least 2048 bits"
    if lacking := sorted(set(names) - names_of(pair.certificate)):
        return f"the certificate lacks the names {', '.join(lacking)}"
    if (end := min(certificate.not_valid_after_utc, authority.not_valid_after_utc)) <= now:
        return f"the certificate expired at {end.isoformat()}"
    if (begin := certificate.not_valid_before_utc) > now + skew:
        return f"the certificate is not valid before {begin.isoformat()}"
    return ""


def expiry(certificate: str) -> datetime:
    """When a certificate, of which it is known that it can be read, ends to be valid."""
    return _read(certificate).not_valid_after_utc


def names_of(certificate: str) -> set[str]:
    """The DNS names and IP addresses that a certificate is for; empty when it cannot be read."""
    try:
        extensions = _read(certificate).extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (
        ValueError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        return set()
    addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)}
    return {*found.get_values_for_type(x509.DNSName), *addresses}


def fingerprint(certificate: str) -> str:
    """A short name of a certificate for logs and comparisons."""
    try:
        return _read(certificate).fingerprint(hashes.SHA256()).hex()[:16]
    except ValueError:
        return ""


def readable(bundle: str) -> list[str]:
    """The certificates of a bundle in their order, each once, as PEM; what is no certificate is left out."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", bundle)
    return list(dict.fromkeys(f"{block}\n" for block in found if fingerprint(f"{block}\n")))


def signer(certificate: str, authorities: Iterable[str]) -> str:
    """The authority that signed the certificate; empty when none of them did."""
    return next((each for each in authorities if _is_signed(certificate, each)), "")


def _is_signed(certificate: str, authority: str) -> bool:
    try:
        _read(certificate).verify_directly_issued_by(_read(authority))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_strong(key: object) -> bool:
    """Whether every TLS library takes it; the published operator's keys and ours are ECDSA on P-256."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048


@lru_cache(maxsize=64)
def _read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _authority(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.Certificate:
    public = key.public_key()
    return (
        _builder(name, public, name, begin, end)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        not_valid_before=begin,
        not_valid_after=end,
    )


def _server_extensions(
    names: Iterable[str], key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    alternatives = [_general_name(name) for name in sorted(names)]
    return (
        (x509.SubjectAlternativeName(alternatives), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False),
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _common_name(names: Iterable[str]) -> str:
    return max((name for name in sorted(names) if len(name) < 64), key=len, default="webhook")


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
