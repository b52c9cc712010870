"""A small network with random weights, and a bundle of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pintag.models import networks
from tests.pintag.bundles import SPEC, save


@pytest.fixture(scope="package")
def network() -> Any:
    """Random weights, large enough for its predictions to differ."""
    network = networks.build(SPEC)
    logits = network.get_layer("head").get_layer("logits")
    logits.kernel.assign(logits.kernel * 20)
    return network


@pytest.fixture
def saved(network: Any, tmp_path: Path) -> Path:
    """The folder of a bundle."""
    save(tmp_path / "model", network)
    return tmp_path / "model"
