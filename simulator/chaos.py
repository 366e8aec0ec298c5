"""A fault campaign: seeded worlds in which everything fails for a while, and must come to rest afterwards.

Each run has two halves. In the first, the processes crash and their calls fail, watches stall, the cloud
refuses, loses and delays, and people interfere. Then the faults end, and within a bounded time pools,
Machines and slots of living Workspaces must be the same, and stay so.
`python -m simulator.chaos SEED` repeats one run.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import msgspec

from simulator.azure.scripts import Hang, Lose
from simulator.bad_clouds import FAILS, FAMILY, FATES, bad_cloud
from simulator.faults import RandomFaults
from simulator.interference import Interference
from simulator.laboratory import Laboratory
from simulator.people import User
from statemachine.machine import events as ev

BOUND = timedelta(hours=30)
"""From the end of the faults to rest. The longest hold-off is 4.4 h, and a stock-out may repeat it."""
CHECK_EVERY = timedelta(minutes=10)
STEADY = timedelta(minutes=40)
"""How long the rest must last: longer than every period of the collector and every recheck."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run. ``fired`` counts faults by what they were, ``digest`` names the whole log."""

    seed: int | str
    violations: tuple[str, ...]
    fired: Counter[str]
    crashes: int
    creates: int
    events: int
    reconciles: int
    hours: float
    """Virtual, from the start to the proof of rest."""
    ownerless_gpu_seconds: float
    digest: str

    @property
    def repeat(self) -> str:
        """The line that repeats the run."""
        return _repeat(self.seed)

    def __str__(self) -> str:
        found = "; ".join(self.violations) or "no violation"
        return f"seed {self.seed}: {found} (repeat: {self.repeat})"


def run_one(seed: int | str) -> Verdict:
    """One world of the campaign, from its seed alone. What is raised bears the line that repeats it."""
    try:
        return _Run(seed).run()
    except Exception as error:
        error.add_note(f"repeat: {_repeat(seed)}")
        raise


def _repeat(seed: int | str) -> str:
    return f"python -m simulator.chaos {seed}"


class _Run:
    """One world: what is drawn for it, what is done to it, and what came of it."""

    def __init__(self, seed: int | str) -> None:
        self._seed = seed
        self._random = Random(f"{seed}/chaos")
        draw = self._random
        self._faults_for = timedelta(minutes=draw.choice((40, 80, 160)))
        self._plan = RandomFaults(
            Random(f"{seed}/faults"),
            crash=draw.choice((0.0, 0.002, 0.02)),
            fail=draw.choice((0.0, 0.02, 0.1, 0.5)),
        )
        self._fired: Counter[str] = Counter()
        self._scripts = draw.choice((0.0, 0.2, 0.5))
        self.lab = Laboratory(
            seed,
            self._plan,
            bad_cloud(draw),
            downtime=lambda: draw.choice((0.1, 5.0, 40.0, 400.0)),
            before_put=self._script_operation,
        )
        self._acting = True
        self._user = User(self.lab, draw, self._fired)
        self._interference = Interference(self.lab, draw, self._fired, self._user.intend)

    # --- the run

    def run(self) -> Verdict:
        self._user.arrange()
        self._interference.arrange(self._faults_for)
        self.lab.start()
        self.lab.run(self._faults_for)
        self._end_faults()
        self._settle()
        return self._verdict()

    def _end_faults(self) -> None:
        self._acting = False
        self._interference.end()
        self._plan.end()
        arm = self.lab.arm
        arm.end_faults()
        arm.set_quota(FAMILY, None)
        for watch in self.lab.cluster.watches():
            watch.resume()

    def _settle(self) -> None:
        """Wait for rest and for a proof that it lasts; the user removes what can never come to be."""
        end = self.lab.engine.now() + BOUND
        while self._is_moving() and self.lab.engine.now() < end:
            self.lab.run(CHECK_EVERY)
            self._user.remove_hopeless()
            self._user.remove_doubles()
        self.lab.run(STEADY)
        self.lab.checker.look()
        self.lab.checker.check_rest()

    def _is_moving(self) -> bool:
        return self._user.intentions > 0 or bool(self.lab.checker.unsettled())

    def _verdict(self) -> Verdict:
        lab = self.lab
        self._count_plan()
        self._count_log()
        heads = [head.hash for head in lab.log.streams()]
        return Verdict(
            seed=self._seed,
            violations=tuple(lab.checker.violations),
            fired=self._fired,
            crashes=sum(process.lives - 1 for process in lab.processes),
            creates=sum(1 for call in lab.arm.journal if call.verb == "put" and call.done),
            events=lab.log.last_position(),
            reconciles=sum(process.reconciles + process.controller.reconciles for process in lab.processes),
            hours=lab.engine.monotonic() / 3600,
            ownerless_gpu_seconds=lab.checker.ownerless_gpu_seconds(),
            digest=hashlib.sha256("".join(heads).encode()).hexdigest(),
        )

    def _count_plan(self) -> None:
        for (port, family), count in sorted(self._plan.fired.items()):
            self._fired[f"{port}: {family}"] += count

    def _count_log(self) -> None:
        """Failures of launches by the classes that the provisioner told apart, and what else it saw."""
        for record in self.lab.log.read_all(limit=10_000_000):
            event = record.event
            if isinstance(event, ev.PoolCreationFailed | ev.PoolDeletionFailed):
                self._fired[f"{record.type}: {event.reason}"] += 1
            elif isinstance(event, _TELLING):
                self._fired[f"seen: {record.type}"] += 1

    # --- the cloud

    def _script_operation(self, pool: str) -> None:
        """Decide, for one PUT in some, what becomes of it."""
        if self._acting and self._random.random() < self._scripts:
            name = self._random.choice(sorted(FATES))
            self.lab.arm.fail(FATES[name], "put", pool)
            self._fired[f"launch: {name}"] += 1
            if self._random.random() < 0.3:
                self.lab.arm.fail(self._random.choice((Hang(), Lose(), FAILS)), "delete", pool)
                self._fired["deletion: by script"] += 1


_TELLING = (
    ev.PoolFound,
    ev.StalePoolFound,
    ev.PoolOperationEnded,
    ev.PoolCreationTimedOut,
    ev.PoolVanished,
    ev.NodesDuplicated,
    ev.NodeRegistrationTimedOut,
    ev.NodeBecameUnready,
    ev.MachineRemovalRequested,
    ev.MachineRemovalWithdrawn,
    ev.MachineVanished,
)


def main(arguments: Sequence[str]) -> int:
    """Run the seeds that are named; 1 when one of them violates a law."""
    verdicts = [run_one(int(seed)) for seed in arguments]
    for verdict in verdicts:
        print(verdict)
    return int(any(verdict.violations for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
