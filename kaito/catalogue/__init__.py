"""What the operator knows of models and machines, as data: one YAML file a preset, one of instance types."""

from __future__ import annotations

from kaito.catalogue.catalogue import Catalogue, instance_types, load_catalogue, presets, read_presets
from kaito.catalogue.entries import InstanceType, Preset, Tuning

__all__ = [
    "Catalogue",
    "InstanceType",
    "Preset",
    "Tuning",
    "instance_types",
    "load_catalogue",
    "presets",
    "read_presets",
]
