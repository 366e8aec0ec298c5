"""Files that are broken, cut, undated, compressed or strange."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.importing.errors import BrokenFile, ImportRefused, UnreadableFile, YearUnknown
from kaito.importing.importer import ImportResult, read_logs
from statemachine.replay import fold
from tests.kaito.original import Given, klog, log_of, merge

RUN = Path(__file__).parents[1] / "data" / "reference-run"
WORKSPACE = (RUN / "workspace.log").read_bytes()
PROVISIONER = (RUN / "gpu-provisioner.log").read_bytes()
TABLE = (RUN / "kubectl-get-workspace-w.txt").read_bytes()
LINES = WORKSPACE.splitlines(keepends=True)


def written(folder: Path, content: bytes, name: str = "workspace.log") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def causes(result: ImportResult) -> list[str]:
    return [cause for history in result.histories.values() for _, cause in history]


def after(count: int, line: bytes, rest: Sequence[bytes] = ()) -> bytes:
    """The first ``count`` lines of the workspace log, then another one."""
    return b"".join([*LINES[:count], line, *rest])


OPEN = b'E0405 18:29:58.950000       1 a.go:1] "x" err=<\n'
BROKEN = {
    "cut JSON": (after(32, LINES[32][:200]), 33, "the JSON object is cut or malformed"),
    "cut JSON in the middle": (after(32, LINES[32][:200] + b"\n", LINES[33:]), 33, "the JSON object is cut"),
    "cut klog header": (after(33, LINES[33][:17]), 34, "the header of a klog line is cut or malformed"),
    "cut klog message": (after(33, LINES[33][:60]), 34, "the quoted message does not end"),
    "cut klog value": (after(33, LINES[33][:-9]), 34, "a quoted value does not end"),
    "cut number": (after(38, LINES[38][:-1]), 39, "the last line is cut"),
    "cut zap line": (after(57, LINES[57][:40]), 58, "the last line is cut"),
    "cut zap object": (after(57, LINES[57][:150]), 58, "the JSON object at its end is cut or malformed"),
    "cut first letter": (after(33, b"I0"), 34, "the last line is cut"),
    "binary": (after(40, b"I0405\x00\x01\xff\n"), 41, "not text: byte 0x00 at column 6"),
    "not UTF-8": (after(40, b"I0405 \xff\xfe\n"), 41, "not UTF-8 at column 7"),
    "cut character": (after(40, "I0405 \u00e9".encode()[:-1]), 41, "not UTF-8 at column 7"),
    "endless line": (after(40, b"x" * (1 << 20) + b"x\n"), 41, "the line is longer than 1048576 bytes"),
    "time goes back": (after(91, LINES[33]), 92, "the time goes back by 2771 s"),
    "no such day": (after(40, b'I0230 18:29:58.945820       1 a.go:1] "x"\n'), 41, "expected a month"),
    "unclosed lines": (after(40, OPEN, LINES[43:]), 42, "a value over several lines is not closed"),
    "unclosed at end": (after(40, OPEN + b"\tno\n"), 41, "a value over several lines does not end"),
    "empty": (b"", 1, "the file is empty"),
    "another text": (b"# Title\n\nSome prose.\n", 1, "none of its 3 lines is a line of a Kaito log"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_names_its_line(tmp_path: Path, content: bytes, line: int, why: str) -> None:
    path = written(tmp_path, content)

    with pytest.raises(BrokenFile) as refused:
        read_logs([path], partial=False)

    assert str(refused.value).startswith(f"workspace.log:{line}: {why}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("content", "line", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_partial_reads_up_to_that_line(tmp_path: Path, content: bytes, line: int, why: str) -> None:
    path = written(tmp_path, content)
    whole = read_logs([written(tmp_path, WORKSPACE, "whole.log")], partial=False)

    result = read_logs([path], partial=True)

    (broken,) = result.broken
    assert (broken.file, broken.line) == ("workspace.log", line)
    assert why in broken.why
    expected = [int(cause.split(":")[1]) for cause in causes(whole) if int(cause.split(":")[1]) < line]
    told = [int(cause.split(":")[1]) for cause in causes(result)]
    assert told == expected[: len(told)]
    assert len(expected) - len(told) <= 1  # the creation waits for the number of nodes
    assert told or line <= 41


def test_partial_keeps_the_whole_files(tmp_path: Path) -> None:
    cut = written(tmp_path, WORKSPACE[:-30])
    whole = written(tmp_path, PROVISIONER, "gpu-provisioner.log")

    result = read_logs([cut, whole], partial=True)

    assert [broken.line for broken in result.broken] == [91]
    assert len(result.histories["machine/wsb42f9cb5f"]) == 5


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("name", ["absent.log", "."])
def test_unreadable_file_is_one_line(tmp_path: Path, name: str, partial: bool) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read_logs([tmp_path / name], partial=partial)

    assert "cannot be read: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_lines_are_counted_with_numbers(tmp_path: Path) -> None:
    strange = [
        b"something else entirely\n",
        b'I0405 18:29:58.945820       1 new.go:7] "a message of another release" workspace="default/w"\n',
        b'{"time":"2024-04-05T18:29:58.945Z","message":"unheard of"}\n',
        b'{"kind":"Event"}\n',
        b'I0405 18:29:58.945820       1 a.go:1] "Reconciling" workspace="no-namespace"\n',
    ]
    path = written(tmp_path, b"".join([*LINES[:38], *strange, *LINES[38:]]))
    whole = read_logs([written(tmp_path, WORKSPACE, "whole.log")], partial=False)

    result = read_logs([path], partial=False)

    assert result.not_understood_count == 5
    assert [odd.line for odd in result.not_understood] == [39, 40, 41, 42, 43]
    assert result.not_understood[0].excerpt == "something else entirely"
    assert result.lines == result.understood + result.not_understood_count
    assert len(causes(result)) == len(causes(whole))


def test_error_text_over_several_lines_is_one_line(tmp_path: Path) -> None:
    error = b'E0405 18:29:58.951000       1 a.go:1] "failed to create machine" err=<\n\tfirst\n\tsecond\n >\n'
    path = written(tmp_path, after(43, error, LINES[43:]))

    result = read_logs([path], partial=False)

    assert (result.lines, result.understood) == (95, 95)


def test_stack_trace_belongs_to_its_error(tmp_path: Path) -> None:
    trace = b"panic: runtime error: bad\n\ngoroutine 7 [running]:\nmain.main()\n\t/go/main.go:7 +0x1d\n"
    path = written(tmp_path, WORKSPACE + trace)

    assert read_logs([path], partial=False).not_understood_count == 0


def test_frame_without_an_error_is_not_understood(tmp_path: Path) -> None:
    path = written(tmp_path, after(38, b"\t/go/main.go:7 +0x1d\n", LINES[38:]))

    assert read_logs([path], partial=False).not_understood_count == 1


@pytest.mark.parametrize(
    "change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b, lambda b: b[:-1]]
)
def test_line_ends_and_marks_change_nothing(tmp_path: Path, change: object) -> None:
    assert callable(change)
    expected = read_logs([written(tmp_path, WORKSPACE)], partial=False)

    assert read_logs([written(tmp_path, change(WORKSPACE))], partial=False) == expected


def test_gzip_file_is_read(tmp_path: Path) -> None:
    plain = read_logs([written(tmp_path, WORKSPACE)], partial=False)

    packed = read_logs([written(tmp_path, gzip.compress(WORKSPACE), "workspace.log.gz")], partial=False)

    assert [c.replace(".gz", "") for c in causes(packed)] == causes(plain)


@pytest.mark.parametrize(
    "change", [lambda b: b[:-900], lambda b: b[: len(b) // 2], lambda b: b"plain text\n"]
)
def test_damaged_gzip_file_is_broken(tmp_path: Path, change: object) -> None:
    assert callable(change)
    path = written(tmp_path, change(gzip.compress(WORKSPACE)), "workspace.log.gz")

    with pytest.raises(BrokenFile, match="gzip data"):
        read_logs([path], partial=False)


# --- years ------------------------------------------------------------------------------------------


def klog_only() -> str:
    lines = [line for line in log_of(Given("w", (("ws000000001", 100),))) if line[1].startswith("I")]
    return merge([lines])


def years(result: ImportResult) -> set[int]:
    return {event.at.year for history in result.histories.values() for event, _ in history}


def test_undated_log_needs_a_year(tmp_path: Path) -> None:
    path = written(tmp_path, klog_only().encode())

    with pytest.raises(YearUnknown, match=r"workspace\.log:1: klog lines carry no year"):
        read_logs([path], partial=False)

    assert years(read_logs([path], partial=False, year=2023)) == {2023}


def test_another_file_gives_the_year(tmp_path: Path) -> None:
    paths = [written(tmp_path, klog_only().encode()), written(tmp_path, PROVISIONER, "gpu-provisioner.log")]

    assert years(read_logs(paths, partial=False, year=1999)) == {2024}


def test_year_turns_within_a_log(tmp_path: Path) -> None:
    path = written(
        tmp_path, klog_only().replace("I0405 18:30", "I1231 23:59").replace("I0405", "I0101").encode()
    )
    text = path.read_text().replace("I0101 18:3", "I0101 00:0").replace("I0101 18:4", "I0101 00:1")
    path.write_text(text)

    result = read_logs([path], partial=False, year=2023)

    (history,) = result.histories.values()
    assert history[0].event.at.replace(second=0, microsecond=0) == datetime(2023, 12, 31, 23, 59, tzinfo=UTC)
    assert history[-1].event.at.year == 2024


def test_leap_day_needs_a_leap_year(tmp_path: Path) -> None:
    path = written(tmp_path, klog_only().replace("I0405", "I0229").encode())

    assert years(read_logs([path], partial=False, year=2024)) == {2024}
    with pytest.raises(BrokenFile, match="29 February does not exist in 2023"):
        read_logs([path], partial=False, year=2023)


# --- anything at all --------------------------------------------------------------------------------


SOURCES = st.sampled_from((WORKSPACE, PROVISIONER, TABLE))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file with some bytes overwritten, removed or inserted, some lines swapped or doubled."""
    content = bytearray(draw(SOURCES))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 30)))
        content[start:end] = draw(
            st.binary(max_size=12) | st.sampled_from((b"", b"\n", b'"', b"}", b"0", b"x"))
        )
    lines = bytes(content).splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 3))):
        if lines:
            line = lines[draw(st.integers(0, len(lines) - 1))]
            lines.insert(draw(st.integers(0, len(lines))), line)
    return b"".join(lines)


@settings(max_examples=80)
@given(st.lists(damaged() | st.binary(max_size=200), min_size=1, max_size=2), st.booleans())
def test_nothing_but_declared_errors(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], partial: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    paths = [written(folder, content, f"{index}.log") for index, content in enumerate(contents)]

    try:
        result = read_logs(paths, partial=partial, year=2024)
    except ImportRefused:
        return

    for stream, history in result.histories.items():
        if stream.startswith("workspace/"):
            fold(event for event, _ in history)
        assert [e.at for e, _ in history] == sorted(e.at for e, _ in history)


def test_klog_helper_writes_what_is_read() -> None:
    at = datetime(2024, 4, 5, 18, 29, 58, 5, tzinfo=UTC)

    assert klog(at, "m", a="b", n=1)[1] == 'I0405 18:29:58.000005       1 controller.go:60] "m" a="b" n=1'
