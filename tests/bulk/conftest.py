"""Images for bulk tagging."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(number: int, size: int = 24) -> bytes:
    """A small JPEG that differs for every number."""
    rng = np.random.default_rng(number)
    encoded = io.BytesIO()
    pixels = rng.integers(0, 256, (3, 3, 3), np.uint8)
    Image.fromarray(pixels).resize((size, size)).save(encoded, "JPEG")
    return encoded.getvalue()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images in folders, a corrupt one, and a text file."""
    root = tmp_path_factory.mktemp("catalogue")
    for number in range(9):
        path = root / f"{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number))
    (root / "0" / "corrupt.jpg").write_bytes(picture(0)[:-100])
    (root / "notes.txt").write_text("nothing to see")
    return root
