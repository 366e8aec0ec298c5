"""Names derived from identity, so that the same intent always has the same name."""

from __future__ import annotations

import hashlib


def machine_name(workspace_uid: str, slot: int, attempt: int) -> str:
    """The Machine, and so the agent pool, of one attempt for one slot.

    ``ws`` and nine hexadecimal digits of a SHA-256: eleven characters, the published form and within the
    twelve that an agent pool may have. No clock goes in, so a crash or a stale cache asks for the same one.
    """
    digest = hashlib.sha256(f"{workspace_uid}/{slot}/{attempt}".encode()).hexdigest()
    return f"ws{digest[:9]}"
