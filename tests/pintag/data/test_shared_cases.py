"""The pictures that users of comparable systems reported, made by the shared generator of cases."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from pintag.core.errors import ImageError
from pintag.data import image_pixels
from pintag.data.images import decode
from pintag.serve.api import schemas
from tests.conftest import ROOT

# Two files declare a format that is accepted where a decoder is installed; they are then corrupt.
_STUBS = ("images/I08_heic.img", "images/I08_heif_heim.img")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, ...]]]:
    """The folder of the cases, and the rows of their manifest; without a generator: skipped."""
    program = Path(os.environ.get("PINTAG_TEST_CASES", ROOT.parent / "shared" / "cases"))
    program /= "make_cases.py"
    if not program.is_file():
        pytest.skip(f"no generator of cases at {program}; PINTAG_TEST_CASES names its folder")
    spec = importlib.util.spec_from_file_location("make_cases", program)
    assert spec
    assert spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    folder = tmp_path_factory.mktemp("cases")
    generator.images(folder / "images")
    return folder, generator.MANIFEST


def outcome(data: bytes) -> tuple[int, list[float]]:
    """The status that a server answers with, and the mean colour."""
    try:
        mean = decode(data, 160).mean((0, 1)).tolist()
    except ImageError as error:
        return schemas.problem(error).status, []
    return 200, mean


def test_every_picture_is_answered_as_its_manifest_says(
    cases: tuple[Path, list[tuple[str, ...]]],
) -> None:
    folder, manifest = cases
    wrong = []
    for _, file, statuses, colour, remark in manifest:
        status, mean = outcome((folder / file).read_bytes())
        expected = list(map(int, statuses.split("|")))
        if file in _STUBS and image_pixels.accepts("HEIC"):
            expected = [400]
        known = list(map(float, colour.split(","))) if colour else mean
        if status not in expected or mean != pytest.approx(known, abs=4):
            wrong.append((file, status, mean, remark))
    assert wrong == []
    assert len(manifest) > 40
