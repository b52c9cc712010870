"""The pictures that users of comparable systems reported, made by the shared generator of cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.core.errors import ImageError
from pintag.images import formats
from pintag.images.decoding import decode
from pintag.serve.api import schemas
from tests.cases import cases_dir, manifest

__all__ = ["cases_dir"]

# Two files declare a format that is accepted where a decoder is installed; they are then corrupt.
_STUBS = ("I08_heic.img", "I08_heif_heim.img")


def outcome(data: bytes) -> tuple[int, list[float]]:
    """The status that a server answers with, and the mean colour."""
    try:
        mean = decode(data, 160).mean((0, 1)).tolist()
    except ImageError as error:
        return schemas.problem(error).status, []
    return 200, mean


def test_every_picture_is_answered_as_its_manifest_says(cases_dir: Path) -> None:
    wrong = []
    cases = manifest(cases_dir, "images")
    for case in cases:
        status, mean = outcome(case.file.read_bytes())
        stub = case.file.name in _STUBS and formats.has_decoder("HEIC")
        expected = (400,) if stub else case.statuses
        if status not in expected or mean != pytest.approx(case.mean_rgb or mean, abs=4):
            wrong.append((case, status, mean))
    assert wrong == []
    assert len(cases) > 40
