"""Pictures in every form that bulk tagging takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(number: int, size: int = 24) -> bytes:
    """A small JPEG of its own."""
    rng = np.random.default_rng(number)
    encoded = io.BytesIO()
    pixels = rng.integers(0, 256, (3, 3, 3), np.uint8)
    Image.fromarray(pixels).resize((size, size)).save(encoded, "JPEG")
    return encoded.getvalue()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures in folders, one corrupt, one that is no picture by its name."""
    root = tmp_path_factory.mktemp("catalogue")
    for number in range(9):
        place = root / f"{number % 3}" / f"{number}.jpg"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(picture(number))
    (root / "0" / "corrupt.jpg").write_bytes(picture(0)[:-100])
    (root / "notes.txt").write_text("nothing to see")
    return root
