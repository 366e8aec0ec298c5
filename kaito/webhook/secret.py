"""The Secret on which all replicas agree: the pair to serve, the authorities to trust, and the next pair.

The three published keys mean what they meant, so that an operator of the published kind can take the Secret
over, and we its. Beside them stand those of a pair that is made but not trusted everywhere yet.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any

import msgspec

from kaito.runtime.ports import Object
from kaito.webhook import certificates
from kaito.webhook.certificates import Pair

NAME = "workspace-webhook-cert"

KEY, CERTIFICATE, AUTHORITIES = "server-key.pem", "server-cert.pem", "ca-cert.pem"
NEXT_KEY, NEXT_CERTIFICATE, NEXT_AUTHORITY = "next-server-key.pem", "next-server-cert.pem", "next-ca-cert.pem"


class Bundle(msgspec.Struct, frozen=True):
    """What the Secret says.

    Attributes:
        pair: To be served. Its authority is the one of ``authorities`` that signed it, empty if none did.
        authorities: All that the configuration is to trust.
        following: To be served next, as soon as its authority is trusted.
    """

    pair: Pair
    authorities: tuple[str, ...] = ()
    following: Pair | None = None


def read(secret: Object | None) -> Bundle:
    """What a Secret holds, with an empty text for whatever is missing or no text."""
    data = (secret or {}).get("data")
    found = data if isinstance(data, dict) else {}
    texts = {key: _text(found.get(key)) for key in _KEYS}
    authorities = tuple(certificates.readable(texts[AUTHORITIES]))
    following = Pair(texts[NEXT_CERTIFICATE], texts[NEXT_KEY], texts[NEXT_AUTHORITY])
    return Bundle(
        Pair(texts[CERTIFICATE], texts[KEY], certificates.signer(texts[CERTIFICATE], authorities)),
        authorities,
        following if following.certificate or following.key or following.authority else None,
    )


def written(bundle: Bundle, secret: Object | None, namespace: str) -> Object:
    """The Secret with this content; everything else of it stays, its resourceVersion too."""
    found: dict[str, Any] = dict(secret or _new(namespace))
    data = found.get("data")
    kept = {key: value for key, value in (data or {}).items() if key not in _KEYS}
    return {**found, "data": {**kept, **{key: _encoded(text) for key, text in _texts(bundle).items()}}}


_KEYS = (KEY, CERTIFICATE, AUTHORITIES, NEXT_KEY, NEXT_CERTIFICATE, NEXT_AUTHORITY)


def _texts(bundle: Bundle) -> dict[str, str]:
    texts = {
        KEY: bundle.pair.key,
        CERTIFICATE: bundle.pair.certificate,
        AUTHORITIES: "".join(bundle.authorities),
    }
    if bundle.following is not None:
        texts |= {
            NEXT_KEY: bundle.following.key,
            NEXT_CERTIFICATE: bundle.following.certificate,
            NEXT_AUTHORITY: bundle.following.authority,
        }
    return texts


def _new(namespace: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": NAME, "namespace": namespace},
    }


def _text(value: Any) -> str:
    try:
        return b64decode(value, validate=True).decode() if isinstance(value, str) else ""
    except (binascii.Error, ValueError):
        return ""


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
