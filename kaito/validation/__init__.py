"""Admission of Workspaces as pure functions: lists of messages, empty when the object may pass."""

from __future__ import annotations

from kaito.validation.admission import reconcile_refusal, validate_create, validate_update

__all__ = ["reconcile_refusal", "validate_create", "validate_update"]
