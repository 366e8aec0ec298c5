"""Files of Workspaces: every fault is one line with file, line and field."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from kaito.api import yaml_reading
from kaito.api.errors import InputError
from kaito.api.loading import load_documents, repeated_names

GOOD = """\
# a comment
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata:
  name: falcon
resource:
  labelSelector:
    matchLabels:
      apps: falcon
inference:
  preset:
    name: falcon-7b
"""


def write(directory: Path, text: str, name: str = "w.yaml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | str) -> list[str]:
    with pytest.raises(InputError) as raised:
        load_documents(path)
    messages = raised.value.messages
    assert all("\n" not in message for message in messages)
    return [message.removeprefix(str(Path(path).parent) + "/") for message in messages]


def test_a_file_may_hold_several_documents(tmp_path: Path) -> None:
    other = GOOD.replace("name: falcon\n", "name: other\n")
    path = write(tmp_path, f"{GOOD}---\n---\n{other}")

    first, second = load_documents(path)

    assert (first.workspace.name, second.workspace.name) == ("falcon", "other")
    assert first.object["metadata"] == {"name": "falcon"}
    assert (first.line, second.line) == (2, 16)


def test_places_name_the_line_of_a_field(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)

    (document,) = load_documents(path)

    assert document.place("inference.preset.name") == f"{path}:12"
    assert document.place("resource.instanceType") == f"{path}:6"
    assert document.place("tuning.method") == f"{path}:2"


def test_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))

    (document,) = load_documents("-")

    assert document.place() == "standard input:2"


def test_json_is_read_as_well(tmp_path: Path) -> None:
    text = '{"apiVersion": "kaito.sh/v1alpha1", "kind": "Workspace", "metadata": {"name": "j"}}'

    (document,) = load_documents(write(tmp_path, text, "w.json"))

    assert document.workspace.name == "j"


BAD = {
    "empty file": ("", ["w.yaml:1: expected a Workspace, found an empty file"]),
    "only comments": ("# nothing\n---\n", ["w.yaml:1: expected a Workspace, found an empty file"]),
    "a list": ("- a\n- b\n", ["w.yaml:1: expected a mapping, found a list"]),
    "a word": ("\n\nfalcon\n", ['w.yaml:3: expected a mapping, found "falcon"']),
    "another kind": (
        "apiVersion: v1\nkind: Service\n",
        ["w.yaml:2: kind: expected Workspace, found Service"],
    ),
    "no kind": ("metadata: {}\n", ["w.yaml:1: kind: expected Workspace, found nothing"]),
    "another version": (
        GOOD.replace("v1alpha1", "v2"),
        ["w.yaml:2: apiVersion: expected kaito.sh/v1alpha1, found kaito.sh/v2"],
    ),
    "unknown field": (
        GOOD.replace("  preset:", "  prest:"),
        ["w.yaml:11: inference.prest: expected a known field, nearest is preset, found prest"],
    ),
    "wrong type": (
        GOOD.replace("resource:", "resource:\n  count: two"),
        ['w.yaml:7: resource.count: expected a whole number, found "two"'],
    ),
    "missing field": (
        GOOD.replace("    name: falcon-7b", "    accessMode: public"),
        ["w.yaml:11: inference.preset.name: expected a value, found nothing"],
    ),
    "unquoted number": (
        GOOD.replace("apps: falcon", "apps: 7"),
        ["w.yaml:9: resource.labelSelector.matchLabels.apps: expected a string, found 7"],
    ),
    "unquoted key": (
        GOOD.replace("apps: falcon", "7: falcon"),
        [
            "w.yaml:9: resource.labelSelector.matchLabels: expected a string as key, "
            "found 7; quotes make it one"
        ],
    ),
    "key that is a list": (
        "[a]: b\n",
        ["w.yaml:1: expected a string as key, found a list or mapping; quotes make it one"],
    ),
    "key twice": (
        GOOD + "kind: Workspace\n",
        ["w.yaml:13: kind: expected each key once, found kind again"],
    ),
    "recursive alias": ("a: &a\n  - *a\n", ["w.yaml:1: expected YAML, found values nested too deeply"]),
    "deep nesting": ("[" * 5000, None),
    "unknown tag": ("a: !!python/name:os.system\n", None),
    "tab": ("a:\n\t- b\n", None),
    "unclosed": ("metadata: {name: falcon\nkind: Workspace\n", None),
    "control character": ("kind: Workspace\nname: \x01\n", None),
    "impossible date": ("kind: 2024-13-45\n", ["w.yaml:1: expected YAML, found month must be in 1..12"]),
    "endless number": ("kind: " + "9" * 5000 + "\n", None),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]

    messages = refusal(write(tmp_path, text))

    if expected is None:
        assert len(messages) == 1
        assert messages[0].startswith("w.yaml:")
        assert "expected YAML, found" in messages[0]
    else:
        assert messages == expected


def test_syntax_error_names_line_and_column(tmp_path: Path) -> None:
    (message,) = refusal(write(tmp_path, "kind: Workspace\nmetadata: [a, b\n"))

    assert message.startswith("w.yaml:3:1: expected YAML, found a syntax error: ")


def test_control_character_is_told_by_its_line(tmp_path: Path) -> None:
    (message,) = refusal(write(tmp_path, "kind: Workspace\nname: \x01\n"))

    assert message.startswith("w.yaml:2")


def test_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]

    (message,) = refusal(write(tmp_path, "\n".join(levels)))

    assert f"expected at most {yaml_reading.MOST_VALUES} values" in message


def test_missing_file_and_directory_are_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"

    assert refusal(missing) == [
        "none.yaml: expected a file that can be read, found: no such file or directory"
    ]
    (message,) = refusal(tmp_path)
    assert message.endswith("expected a file that can be read, found: is a directory")


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"kind: Workspace\nname: \xff\n")

    assert refusal(path) == ["w.yaml:2: expected UTF-8, found byte 0xff"]


def test_every_fault_of_a_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}extra: 1\n---\n{GOOD.replace('name: falcon-7b', 'name: 7')}")

    assert refusal(path) == [
        "w.yaml:13: extra: expected one of apiVersion, inference, kind, metadata, resource, status, tuning, "
        "found extra",
        "w.yaml:26: inference.preset.name: expected a string, found 7",
    ]


def test_two_objects_of_one_name_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}---\n{GOOD}")

    assert refusal(path) == [
        f"w.yaml:18: metadata.name: expected one default/falcon, found another at {path}:5"
    ]


def test_one_name_in_two_namespaces_is_fine(tmp_path: Path) -> None:
    other = GOOD.replace("  name: falcon\n", "  name: falcon\n  namespace: other\n")

    assert len(load_documents(write(tmp_path, f"{GOOD}---\n{other}"))) == 2


def test_repeated_names_are_found_across_files(tmp_path: Path) -> None:
    paths = [write(tmp_path, GOOD, name) for name in ("a.yaml", "b.yaml")]

    messages = repeated_names(document for path in paths for document in load_documents(path))

    assert messages == [
        f"{paths[1]}:5: metadata.name: expected one default/falcon, found another at {paths[0]}:5"
    ]
