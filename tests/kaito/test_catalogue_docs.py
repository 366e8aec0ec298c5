"""The walk through adding a model is true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import msgspec
import pytest

from kaito import manifests
from kaito.api.errors import InputError
from kaito.catalogue import Catalogue, Preset
from tests.kaito.workspaces import a_manifest, a_stored

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-model.md"
TEXT = GUIDE.read_text(encoding="utf-8")


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guide's directory: its one YAML block, and the place its commands are typed in."""
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    directory = tmp_path / "presets"
    directory.mkdir()
    (directory / "tiny-6b.yaml").write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return Path("presets")


def test_guides_file_gives_the_guides_command(presets: Path) -> None:
    catalogue = Catalogue.load(presets)

    workload = manifests.workload(a_stored(a_manifest("tiny-6b")), catalogue.presets["tiny-6b"])

    container = workload["spec"]["template"]["spec"]["containers"][0]
    assert f"The container runs `{container['command'][2]}`" in TEXT
    assert f"`{container['image']}`" in TEXT


def test_guides_python_answers_as_shown(presets: Path) -> None:
    examples = doctest.DocTestParser().get_doctest(TEXT, {}, str(presets), str(GUIDE), 0)
    runner = doctest.DocTestRunner()

    results = runner.run(examples)

    assert results.attempted == 5
    assert results.failed == 0


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("diskGiB: 60", "diskGiB: 20"),
        ("image: models.example.com/tiny-6b:2.1", "tag: 1.0"),
        ("gpus: 1", "gpu: 1\ngpus: 1"),
    ],
)
def test_guides_refusals_are_real(presets: Path, good: str, bad: str) -> None:
    path = presets / "tiny-6b.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(good, bad), encoding="utf-8")

    with pytest.raises(InputError) as raised:
        Catalogue.load(presets)

    assert str(raised.value) in TEXT.splitlines()


def test_guide_names_every_field() -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(Preset)}

    assert fields <= set(re.findall(r"`(\w+)`", TEXT))
