"""One program on both servers, a call at a time, up to the first difference that nobody has explained."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from tests.differential.calls import Call, Delete, Get, Program, printed
from tests.differential.comparison import Comparison, Difference
from tests.differential.interpreter import Run
from tests.differential.ledger import Ledger
from tests.differential.servers import RealServer, VirtualServer


class Unexplained(AssertionError):
    """The servers differ and the ledger does not say why they may."""

    def __init__(self, difference: Difference, program: Program) -> None:
        super().__init__(
            f"{difference}\nThe program, for tests/differential/regressions.py:\n{printed(program)}"
        )
        self.difference = difference
        self.program = program


class Trials:
    """Programs run one after the other on one real server, each against a virtual one of its own.

    Args:
        prefix: Begins the names of namespaces, so that others can use the same server.
    """

    _numbers = count(1)

    def __init__(self, real: RealServer, ledger: Ledger, prefix: str = "p") -> None:
        self.ledger = ledger
        self.programs = 0
        self.calls = 0
        self._real = real
        self._prefix = prefix

    def run(self, program: Program, shown: str = "") -> None:
        """
        Args:
            shown: The entry of the ledger whose program this is.

        Raises:
            Unexplained: An answer differs.
        """
        self.programs += 1
        namespace = f"{self._prefix}{next(self._numbers):06d}"
        self._real.add_namespace(namespace)
        virtual, real = Run(VirtualServer(), namespace), Run(self._real, namespace)
        try:
            self._compare(program, shown, virtual, real)
        finally:
            real.clean_up()

    def _compare(self, program: Program, shown: str, virtual: Run, real: Run) -> None:
        comparison = Comparison()
        for call in _with_checks(program):
            self.calls += 1
            if self._judged(comparison.differences(call, virtual.do(call), real.do(call)), program, shown):
                return
        ends = zip(virtual.watches, virtual.finish(), real.finish(), strict=True)
        for watch, ours, theirs in ends:
            self._judged(comparison.differences(watch.call, ours, theirs), program, shown)

    def _judged(self, differences: Iterable[Difference], program: Program, shown: str) -> bool:
        """Whether the program cannot go on, for an explained difference has parted the servers."""
        ends = False
        for difference in differences:
            entry = self.ledger.explanation(difference, shown)
            if entry is None:
                raise Unexplained(difference, program)
            ends = ends or difference.ends or entry.ends
        return ends


def _with_checks(program: Program) -> Iterable[Call]:
    """The program, and a look after each DELETE: its answer does not say whether the object is gone."""
    for call in program:
        yield call
        if isinstance(call, Delete):
            yield Get(kind=call.kind, name=call.name)
