"""Presets that a user brings as files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kaito import catalogue
from kaito.api.errors import InputError
from kaito.catalogue import Catalogue, read_presets

GOOD = """\
name: tiny
family: tiny
access: public
tag: "1.0"
gpus: 1
totalMemoryGiB: 4
readinessTimeout: 5m
baseCommand: python3
program: serve.py
modelFlags:
  port: 5000
"""


def write(directory: Path, text: str, name: str = "tiny.yaml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(directory: Path) -> list[str]:
    with pytest.raises(InputError) as raised:
        Catalogue.load(directory)
    assert "\n" not in "".join(raised.value.messages)
    return [message.removeprefix(f"{directory}/") for message in raised.value.messages]


def test_a_directory_adds_models(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "notes.txt").write_text("not read", encoding="utf-8")

    loaded = Catalogue.load(tmp_path)

    assert sorted(set(loaded.presets) - set(catalogue.presets())) == ["tiny"]
    assert loaded.presets["tiny"].model_flags == {"port": 5000}
    assert list(loaded.presets) == sorted(loaded.presets)
    assert "tiny" not in catalogue.presets()


def test_a_file_replaces_a_built_in_model(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("name: tiny", "name: phi-2"))

    assert Catalogue.load(tmp_path).presets["phi-2"].tag == "1.0"


def test_an_image_may_be_named_in_full(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace('tag: "1.0"', "image: other.test/tiny:2"))

    assert Catalogue.load(tmp_path).presets["tiny"].image_in("r.test") == "other.test/tiny:2"


BAD = {
    "unknown field": (GOOD + "gpu: 1\n", "tiny.yaml:12: gpu: expected a known field"),
    "missing field": (
        GOOD.replace("gpus: 1\n", ""),
        "tiny.yaml:1: gpus: expected a value, found nothing",
    ),
    "wrong type": (
        GOOD.replace("gpus: 1", "gpus: one"),
        "tiny.yaml:5: gpus: expected a whole number, found a string",
    ),
    "no GPU": (GOOD.replace("gpus: 1", "gpus: 0"), "tiny.yaml:5: gpus: expected a whole number >= 1"),
    "unquoted tag": (
        GOOD.replace('"1.0"', "1.0"),
        "tiny.yaml:4: tag: expected a string, found a number",
    ),
    "bad name": (
        GOOD.replace("name: tiny", "name: Tiny"),
        "tiny.yaml:1: name: expected a string matching regex",
    ),
    "access mode": (
        GOOD.replace("public", "secret"),
        "tiny.yaml:3: access: expected another value, found 'secret'",
    ),
    "no timeout": (
        GOOD.replace("5m", "soon"),
        "tiny.yaml:7: readinessTimeout: expected a duration such as 4m, 240s, 1h30m or 500ms, found 'soon'",
    ),
    "zero timeout": (
        GOOD.replace("5m", "0s"),
        "tiny.yaml:7: readinessTimeout: expected more than 0s, found 0s",
    ),
    "small disk": (GOOD + "diskGiB: 20\n", "tiny.yaml:12: diskGiB: expected 0 or 30 to 2048, found 20"),
    "large disk": (GOOD + "diskGiB: 2049\n", "tiny.yaml:12: diskGiB: expected 0 or 30 to 2048, found 2049"),
    "public without image": (
        GOOD.replace('tag: "1.0"\n', ""),
        "tiny.yaml:1: tag: expected a tag or an image for a public model, found neither",
    ),
    "private with image": (
        GOOD.replace("public", "private"),
        "tiny.yaml:4: tag: expected neither tag nor image for a private model, whose image is the user's",
    ),
    "distributed alone": (
        GOOD + "distributed: true\n",
        "tiny.yaml:1: worldSize: expected at least 1 for a distributed model, found 0",
    ),
    "more processes than GPUs": (
        GOOD + "worldSize: 2\n",
        "tiny.yaml:12: worldSize: expected at most one process a GPU (1), found 2",
    ),
    "flag value for a shell": (
        GOOD.replace("port: 5000", "port: $(id)"),
        "tiny.yaml:10: modelFlags: expected a value that needs no quoting for port, found '$(id)'",
    ),
    "flag name for a shell": (
        GOOD.replace("  port: 5000", '  "p;rm": 1'),
        "tiny.yaml:10: modelFlags: expected a flag name, found 'p;rm'",
    ),
    "flag of no simple type": (
        GOOD.replace("port: 5000", "port: true"),
        "tiny.yaml:10: modelFlags: expected a whole number, a number or a string, found true or false",
    ),
    "tuning timeout": (
        GOOD
        + "tuning: {diskGiB: 0, gpus: 1, totalMemoryGiB: 1, perGpuMemoryGiB: 1, "
        + 'readinessTimeout: x, baseCommand: c, tag: "1"}\n',
        "tiny.yaml:12: tuning.readinessTimeout: expected a duration",
    ),
    "key twice": (GOOD + "gpus: 2\n", "tiny.yaml:12: gpus: expected each key once, found gpus again"),
    "syntax": ("name: [\n", "tiny.yaml:2:1: expected YAML, found a syntax error"),
    "two documents": (f"{GOOD}---\n{GOOD}", "tiny.yaml: expected one document, found 2"),
    "empty": ("", "tiny.yaml: expected one document, found 0"),
    "a list": ("- 1\n", "tiny.yaml:1: expected a mapping, found a list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_preset_names_file_field_and_reason(case: str, tmp_path: Path) -> None:
    text, expected = BAD[case]
    write(tmp_path, text)

    (message,) = refusal(tmp_path)

    assert message.startswith(expected)


def test_every_bad_file_is_told(tmp_path: Path) -> None:
    write(tmp_path, "name: 1\n", "b.yaml")
    write(tmp_path, "name: 1\n", "a.yml")
    write(tmp_path, GOOD, "c.yaml")

    assert [message.partition(":")[0] for message in refusal(tmp_path)] == ["a.yml", "b.yaml"]


def test_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.yaml")
    write(tmp_path, GOOD, "b.yaml")

    assert refusal(tmp_path) == ["b.yaml: name: expected each name in one file, found tiny again"]


def test_directory_without_presets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected at least one preset file \(\*\.yaml\), found none"):
        read_presets(tmp_path)
    with pytest.raises(InputError, match=r"expected a directory of presets, found: No such file"):
        read_presets(tmp_path / "none")
    with pytest.raises(InputError, match=r"expected a directory of presets, found: Not a directory"):
        read_presets(write(tmp_path, GOOD))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_bytes(b"\xff")

    (message,) = refusal(tmp_path)

    assert message == "tiny.yaml: expected a file that can be read, found: bytes that are no UTF-8"


def test_catalogue_does_not_import_pydantic() -> None:
    """A command that only lists models must start fast."""
    script = (
        "import sys\n"
        "from kaito.catalogue import Catalogue\n"
        "Catalogue.load()\n"
        "print('pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
