"""The built-in catalogues, each row against the published tables."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kaito import catalogue
from kaito.catalogue import Preset, Tuning

SKUS = """
Standard_NC6               1  12  K80
Standard_NC12              2  24  K80
Standard_NC24              4  48  K80
Standard_NC24r             4  48  K80
Standard_NV6               1   8  M60
Standard_NV12              2  16  M60
Standard_NV24              4  32  M60
Standard_NV12s_v3          1   8  M60
Standard_NV24s_v3          2  16  M60
Standard_NV48s_v3          4  32  M60
Standard_ND6s              1  24  P40
Standard_ND12s             2  48  P40
Standard_ND24s             4  96  P40
Standard_ND24rs            4  96  P40
Standard_NC6s_v2           1  16  P100
Standard_NC12s_v2          2  32  P100
Standard_NC24s_v2          4  64  P100
Standard_NC24rs_v2         4  64  P100
Standard_NC6s_v3           1  16  V100
Standard_NC12s_v3          2  32  V100
Standard_NC24s_v3          4  64  V100
Standard_NC24rs_v3         4  64  V100
Standard_ND40rs_v2         8 256  V100
Standard_NC4as_T4_v3       1  16  T4
Standard_NC8as_T4_v3       1  16  T4
Standard_NC16as_T4_v3      1  16  T4
Standard_NC64as_T4_v3      4  64  T4
Standard_ND96asr_v4        8 320  A100
Standard_ND96amsr_A100_v4  8 640  A100
Standard_NC24ads_A100_v4   1  80  A100
Standard_NC48ads_A100_v4   2 160  A100
Standard_NC96ads_A100_v4   4 320  A100
Standard_NV6ads_A10_v5     1   4  A10
Standard_NV12ads_A10_v5    1   8  A10
Standard_NV18ads_A10_v5    1  12  A10
Standard_NV36ads_A10_v5    1  24  A10
Standard_NV36adms_A10_v5   1  24  A10
Standard_NV72ads_A10_v5    2  48  A10
"""
SKU_ROWS = [
    (name, int(gpus), int(memory), gpu) for name, gpus, memory, gpu in map(str.split, SKUS.split("\n")[1:-1])
]

GRID_DRIVER = "Nvidia510GridDriver"


def test_instance_types_are_the_published_ones() -> None:
    assert list(catalogue.instance_types()) == [name for name, *_ in SKU_ROWS]
    assert len(SKU_ROWS) == 38


@pytest.mark.parametrize(("name", "gpus", "memory", "gpu"), SKU_ROWS)
def test_instance_type_row_is_as_published(name: str, gpus: int, memory: int, gpu: str) -> None:
    row = catalogue.instance_types()[name]

    assert (row.name, row.gpus, row.memory_gib) == (name, gpus, memory)
    assert row.memory_per_gpu_gib * gpus == memory
    assert row.gpu.split()[0] == gpu
    assert "Ubuntu" in row.os
    assert (row.driver == GRID_DRIVER) == name.startswith("Standard_NV")


@dataclass(frozen=True)
class Row:
    """One line of the published table of presets; sizes in GiB, the timeout in minutes."""

    name: str
    family: str
    tag: str
    disk: int
    gpus: int
    total: int
    per_gpu: int
    minutes: int
    world_size: int = 0
    distributed: bool = False


PRESETS = [
    Row("falcon-7b", "falcon", "0.0.4", 50, 1, 14, 0, 30),
    Row("falcon-7b-instruct", "falcon", "0.0.4", 50, 1, 14, 0, 30),
    Row("falcon-40b", "falcon", "0.0.5", 400, 2, 90, 0, 30),
    Row("falcon-40b-instruct", "falcon", "0.0.5", 400, 2, 90, 0, 30),
    Row("mistral-7b", "mistral", "0.0.4", 100, 1, 14, 0, 30),
    Row("mistral-7b-instruct", "mistral", "0.0.4", 100, 1, 16, 0, 30),
    Row("phi-2", "phi", "0.0.3", 50, 1, 12, 0, 30),
    Row("llama-2-7b", "llama2", "", 34, 1, 14, 14, 10, 1),
    Row("llama-2-7b-chat", "llama2", "", 34, 1, 16, 14, 10, 1),
    Row("llama-2-13b", "llama2", "", 46, 2, 30, 15, 20, 2, True),
    Row("llama-2-13b-chat", "llama2", "", 46, 2, 30, 15, 20, 2, True),
    Row("llama-2-70b", "llama2", "", 158, 8, 152, 19, 30, 8, True),
    Row("llama-2-70b-chat", "llama2", "", 158, 8, 192, 19, 30, 8, True),
]

TUNINGS = {
    "falcon-7b": (50, 2, 16, 16, "0.0.4"),
    "falcon-40b": (50, 2, 90, 16, "0.0.5"),
    "mistral-7b": (100, 1, 16, 16, "0.0.4"),
    "phi-2": (50, 1, 16, 16, "0.0.3"),
}

ACCELERATE = {"num_processes": 1, "num_machines": 1, "machine_rank": 0, "gpu_ids": "all"}
TORCHRUN = {
    "nnodes": 1,
    "nproc_per_node": 1,
    "node_rank": 0,
    "master_addr": "localhost",
    "master_port": 29500,
}
RENDEZVOUS = {
    "max_restarts": 3,
    "rdzv_id": "rdzv_id",
    "rdzv_backend": "c10d",
    "rdzv_endpoint": "localhost:29500",
}


def test_presets_are_the_published_ones() -> None:
    assert sorted(catalogue.presets()) == sorted(row.name for row in PRESETS)
    assert len(PRESETS) == 13


@pytest.mark.parametrize("row", PRESETS, ids=lambda row: row.name)
def test_preset_row_is_as_published(row: Row) -> None:
    preset = catalogue.presets()[row.name]

    assert (preset.name, preset.family, preset.tag) == (row.name, row.family, row.tag)
    assert preset.access == ("public" if row.tag else "private")
    assert (preset.disk_gib, preset.gpus) == (row.disk, row.gpus)
    assert (preset.total_memory_gib, preset.per_gpu_memory_gib) == (row.total, row.per_gpu)
    assert preset.readiness_timeout_seconds == row.minutes * 60
    assert (preset.world_size, preset.distributed) == (row.world_size, row.distributed)


@pytest.mark.parametrize("row", PRESETS, ids=lambda row: row.name)
def test_preset_flags_are_as_published(row: Row) -> None:
    preset = catalogue.presets()[row.name]

    if row.family == "llama2":
        flags = (TORCHRUN, RENDEZVOUS, {"max_seq_len": 512, "max_batch_size": 8})
        assert preset.base_command == "cd /workspace/llama/llama-2 && torchrun"
    else:
        dtype = "float16" if row.family == "phi" else "bfloat16"
        flags = (ACCELERATE, {}, {"torch_dtype": dtype, "pipeline": "text-generation"})
        assert preset.base_command == "accelerate launch"
    assert (preset.launcher_flags, preset.rendezvous_flags, preset.model_flags) == flags
    assert preset.program == "inference_api.py"


@pytest.mark.parametrize("name", sorted(row.name for row in PRESETS))
def test_tuning_row_is_as_published(name: str) -> None:
    tuning = catalogue.presets()[name].tuning

    assert (tuning and _numbers(tuning)) == TUNINGS.get(name)
    assert tuning is None or (tuning.readiness_timeout, tuning.base_command) == ("30m", "accelerate launch")


def _numbers(tuning: Tuning) -> tuple[int, int, int, int, str]:
    return tuning.disk_gib, tuning.gpus, tuning.total_memory_gib, tuning.per_gpu_memory_gib, tuning.tag


def test_public_image_names_registry_preset_and_tag() -> None:
    presets = catalogue.presets()

    assert presets["phi-2"].image_in("r.test/kaito") == "r.test/kaito/kaito-phi-2:0.0.3"
    assert presets["llama-2-7b"].image_in("r.test/kaito") == ""


def test_catalogue_is_read_once_and_cannot_change() -> None:
    presets: object = catalogue.presets()

    assert catalogue.presets() is presets
    assert catalogue.Catalogue.load().presets is presets
    with pytest.raises(TypeError):
        presets["x"] = None  # type: ignore[index]  # what must fail
    with pytest.raises(AttributeError):
        catalogue.presets()["phi-2"].gpus = 2  # type: ignore[misc]  # what must fail


def test_every_preset_fits_some_instance_type() -> None:
    for preset in catalogue.presets().values():
        fitting = [
            row for row in catalogue.instance_types().values() if _fits(preset, row.gpus, row.memory_gib)
        ]

        assert fitting, preset.name


def _fits(preset: Preset, gpus: int, memory: int) -> bool:
    return gpus >= preset.gpus and memory >= preset.total_memory_gib
