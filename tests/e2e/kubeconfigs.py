"""Kubeconfigs for clients of a proxy, which need no credentials."""

from __future__ import annotations

import json
from pathlib import Path


def write_kubeconfig(path: Path, server: str, token: str = "") -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "tester", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "tester"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config))
    return path
