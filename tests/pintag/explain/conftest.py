"""Fixtures for the tests of explanations."""

from __future__ import annotations

import numpy as np
import pytest

from pintag.core.types import Array


@pytest.fixture
def image() -> Array:
    """`uint8[16,24,3]`: six tiles of 8 x 8 pixels, each of a different colour."""
    colours = np.random.default_rng(3).integers(60, 256, (2, 3, 3), np.uint8)
    return colours.repeat(8, axis=0).repeat(8, axis=1)
