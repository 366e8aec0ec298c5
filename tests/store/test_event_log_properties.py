"""Any sequence of appends, repeats and conflicts, against a model of a dozen lines."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from store.chain import verify
from store.errors import StaleEpoch, WrongExpectedVersion
from store.jsonlines import export, import_lines
from store.memory import MemoryEventLog
from store.opening import open_log
from store.records import Appended, StoredEvent, family_of
from tests.store.samples import START, events

STREAMS = ("workspace/default/a/1", "workspace/default/b/2", "machine/ws0")


class LogMachine(RuleBasedStateMachine):
    """Drives both logs alike; the model is a list of (stream, event) and the epoch of each family."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{Path(self.folder.name) / 'log.db'}?synchronous=NORMAL"
        self.logs = [MemoryEventLog(lambda: START), open_log(self.url, lambda: START, create=True)]
        self.model: list[tuple[str, StoredEvent]] = []
        self.epochs = dict.fromkeys(map(family_of, STREAMS), 0)
        self.appends: list[tuple[str, int, str, list[StoredEvent], Appended]] = []

    def teardown(self) -> None:
        for log in self.logs:
            log.close()
        self.folder.cleanup()

    def version(self, stream: str) -> int:
        return sum(1 for name, _ in self.model if name == stream)

    def outcomes(
        self, stream: str, batch: list[StoredEvent], expected: int, epoch: int, command: str
    ) -> object:
        """What both logs answer, which is the same: where it is, or the kind of refusal."""
        answers = []
        for log in self.logs:
            try:
                answers.append(
                    log.append(stream, batch, expected_version=expected, epoch=epoch, command_id=command)
                )
            except (WrongExpectedVersion, StaleEpoch) as refusal:
                answers.append(type(refusal))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(
        stream=st.sampled_from(STREAMS),
        batch=st.lists(events(), min_size=1, max_size=3),
        rise=st.integers(0, 2),
    )
    def append(self, stream: str, batch: list[StoredEvent], rise: int) -> None:
        expected, command = self.version(stream), f"command {len(self.appends)}"
        self.epochs[family_of(stream)] += rise

        answer = self.outcomes(stream, batch, expected, self.epochs[family_of(stream)], command)

        self.model += [(stream, event) for event in batch]
        assert answer == Appended(expected + len(batch), len(self.model))
        self.appends.append((stream, expected, command, batch, answer))

    @precondition(lambda self: self.appends)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        stream, expected, command, batch, answer = data.draw(st.sampled_from(self.appends))

        assert self.outcomes(stream, batch, expected, self.epochs[family_of(stream)], command) == answer

    @rule(stream=st.sampled_from(STREAMS), event=events(), off=st.sampled_from([-2, -1, 1, 2]))
    def conflict(self, stream: str, event: StoredEvent, off: int) -> None:
        expected, epoch = self.version(stream) + off, self.epochs[family_of(stream)]

        assert self.outcomes(stream, [event], expected, epoch, "conflict") is WrongExpectedVersion

    @rule(family=st.sampled_from(sorted(set(map(family_of, STREAMS)))), rise=st.integers(0, 2))
    def lead(self, family: str, rise: int) -> None:
        self.epochs[family] += rise

        for log in self.logs:
            log.lead(family, self.epochs[family])
            assert log.highest_epoch(family) == self.epochs[family]

    @rule(stream=st.sampled_from(STREAMS), event=events())
    def deposed(self, stream: str, event: StoredEvent) -> None:
        epoch = self.epochs[family_of(stream)] - 1

        # The fence rises with an append or by its leader's word, so the model's epoch stands in it.
        assert self.outcomes(stream, [event], self.version(stream), epoch, "deposed") is StaleEpoch

    @rule()
    def reopen(self) -> None:
        self.logs[1].close()
        self.logs[1] = open_log(self.url, lambda: START, create=False)

    @rule()
    def travel(self) -> None:
        copy = MemoryEventLog(lambda: START)

        import_lines(copy, export(self.logs[1]))

        assert copy.read_all(limit=10_000) == self.logs[0].read_all(limit=10_000)

    @invariant()
    def logs_agree_with_the_model(self) -> None:
        for log in self.logs:
            records = log.read_all(limit=10_000)
            assert [(record.stream, record.event) for record in records] == self.model
            assert [record.position for record in records] == list(range(1, len(self.model) + 1))
            for stream in STREAMS:
                own = [event for name, event in self.model if name == stream]
                assert log.events(stream) == own
                head = log.head(stream)
                assert (head.version if head else 0) == len(own)

    @invariant()
    def chain_holds(self) -> None:
        assert [verify(log) for log in self.logs] == [[], []]


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=25, stateful_step_count=20)
