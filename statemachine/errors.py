"""Errors of the core.

StateMachineError
└── IllegalTransition    an event that the present state does not list: stop, this stream is poisoned
"""

from __future__ import annotations


class StateMachineError(Exception):
    """Base of everything the core raises."""


class IllegalTransition(StateMachineError):
    """An event met a state whose row does not list it."""

    def __init__(self, subject: str, state: str, event: str) -> None:
        super().__init__(f"{event} is not possible for {subject} in state {state}")
        self.subject = subject
        self.state = state
        self.event = event
