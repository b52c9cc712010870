"""The Python API: `import pintag`, load, tag, predict, explain, show."""

from __future__ import annotations

import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageShow

import pintag
from pintag.core.errors import (
    BundleError,
    ConfigError,
    DataError,
    DecodingError,
    ImageError,
    PintagError,
)
from pintag.core.types import Confidences, Pixels
from pintag.images import decoding
from pintag.models import bundle
from pintag.models.registry import Registry
from pintag.tagger import Tagger
from tests.conftest import ROOT
from tests.pintag import bundles
from tests.pintag.images.hostile import limit_decoding, slow_jpeg

RED, GREEN = (255, 0, 0), (0, 255, 0)


class RednessEngine:
    """Predicts `art` with the share of red in an image, and `food` with the rest."""

    name, precision, input_size = "fake", "fp32", 32

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, pixels: Pixels) -> Confidences:
        self.batches.append(len(pixels))
        red = pixels[..., 0].mean(axis=(1, 2), dtype=np.float32) / 255
        return np.stack([red, 1 - red], axis=1)


@pytest.fixture
def tagger(tmp_path: Path) -> Tagger:
    return Tagger(bundle.load(bundles.write(tmp_path / "bundle", "a1")), RednessEngine())


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (60, 40), RED).save(path)
    return path


@pytest.fixture
def half() -> Pixels:
    """Red on the left, green on the right."""
    pixels = np.full((40, 60, 3), GREEN, np.uint8)
    pixels[:, :30] = RED
    return pixels


def test_the_package_offers_what_it_documents() -> None:
    assert set(pintag.__all__) <= set(dir(pintag))
    for name in pintag.__all__:
        assert getattr(pintag, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        pintag.lode  # noqa: B018


@pytest.mark.parametrize("statement", ["import pintag", "import pintag; pintag.load"])
def test_import_loads_no_heavy_library(statement: str) -> None:
    heavy = ("tensorflow", "keras", "ray", "matplotlib", "lime", "skimage", "openvino", "httpx")
    script = f"{statement}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_one_image_gives_its_tags(tagger: Tagger, red: Path, half: Pixels) -> None:
    for image in (red, str(red), red.read_bytes(), decoding.read(red)):
        assert tagger.tag(image) == [pintag.Tag("art", 1.0), pintag.Tag("food", 0.0)]
    assert tagger.tag(red, max_tags=1) == [pintag.Tag("art", 1.0)]
    assert tagger.tag(red, min_confidence=0.5) == [pintag.Tag("art", 1.0)]
    (first, second) = tagger.tag(half)
    assert first.confidence == pytest.approx(0.5, abs=0.05)
    assert first.confidence + second.confidence == pytest.approx(1)


def test_bytes_may_be_mutable(tagger: Tagger, red: Path) -> None:
    content = red.read_bytes()
    for image in (bytearray(content), memoryview(content)):
        assert tagger.tag(image, max_tags=1) == [pintag.Tag("art", 1.0)]  # type: ignore[call-overload]


def test_what_is_no_image_is_named(tagger: Tagger, red: Path) -> None:
    with red.open("rb") as file, Image.open(red) as opened:
        for wrong in (file, io.BytesIO(b""), opened, 7, None, "a\0b", {"a": 1}):
            with pytest.raises(ImageError, match="is not an image: give a path"):
                tagger.tag(wrong)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_tags": 0}, "max_tags: a positive integer or None, not 0"),
        ({"max_tags": "3"}, "max_tags: a positive integer or None, not '3'"),
        ({"min_confidence": 2}, "min_confidence: a number from 0 to 1, not 2"),
        ({"min_confidence": float("nan")}, "min_confidence: a number from 0 to 1, not nan"),
    ],
)
def test_a_wrong_selection_of_tags_is_refused(
    tagger: Tagger, red: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tagger.tag(red, **arguments)


def test_many_images_give_a_list_each(tagger: Tagger, red: Path, half: Pixels) -> None:
    best = [tags[0].label for tags in tagger.tag([red, np.zeros_like(half), red.read_bytes()])]
    assert best == ["art", "food", "art"]
    assert len(tagger.tag((red,), max_tags=1)) == 1
    assert len(tagger.tag(np.stack([half, half]))) == 2
    assert tagger.tag([]) == []


def test_images_are_predicted_in_batches(tagger: Tagger, half: Pixels) -> None:
    confidences = tagger.predict([half] * 70)
    assert (confidences.shape, confidences.dtype) == ((70, 2), np.float32)
    assert isinstance(tagger.engine, RednessEngine)
    assert tagger.engine.batches == [32, 32, 6]
    assert tagger.predict([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8\[H,W,3\], got uint8\[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), r"got uint8\[4, 4, 4\]"),
        (np.zeros((4, 4, 3)), r"got float64\[4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"got uint8\[0, 4, 3\]"),
        (b"text", "not an image"),
        ("missing.jpg", "missing.jpg: cannot be read"),
    ],
    ids=["grey", "alpha", "floats", "empty", "text", "missing"],
)
def test_other_input_is_an_image_error(tagger: Tagger, image: Pixels, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        tagger.tag(image)
    with pytest.raises(ImageError, match=message):
        tagger.explain(image)


def test_an_explanation_points_at_the_red_half(tagger: Tagger, half: Pixels) -> None:
    explanation = tagger.explain(half, "art", num_features=1, num_samples=60, segmentation="slic")
    assert explanation.label == "art"
    assert explanation.confidence == pytest.approx(0.5, abs=0.05)
    top = explanation.explanation.mask()
    assert (top[:, :14] == 1).any()
    assert not top[:, 18:].any()
    assert explanation.to_json()["label"] == "art"
    assert explanation.to_json()["samples"] == 60
    assert any("Plain LIME" in line for line in explanation.summary)
    assert repr(explanation).startswith("<ImageExplanation art ")


def test_an_explanation_is_a_picture_in_jupyter_and_in_a_file(
    tagger: Tagger, red: Path, tmp_path: Path
) -> None:
    explanation = tagger.explain(red, num_samples=20)
    height, width = explanation.overlay().shape[:2]
    assert width / height == pytest.approx(1.5, abs=0.01)
    with Image.open(io.BytesIO(explanation._repr_png_())) as picture:
        # A title and a legend are above and below the overlay.
        assert picture.width == width
        assert picture.height > height
    assert "<img" in explanation._repr_html_()
    assert "art 100.0%" in explanation._repr_html_()
    explanation.save(tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes() == explanation.png()


def test_show_uses_the_notebook_or_a_viewer(
    tagger: Tagger, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explanation = tagger.explain(red, num_samples=20)
    opened: list[object] = []
    monkeypatch.setattr(ImageShow, "show", lambda image, title: opened.append(title) or True)
    explanation.show()
    assert opened == [repr(explanation)]
    monkeypatch.setattr(ImageShow, "show", lambda image, title: False)
    with pytest.raises(PintagError, match=r"there is no image viewer; .*\.save\("):
        explanation.show()
    displayed: list[object] = []
    ipython = SimpleNamespace(
        get_ipython=lambda: SimpleNamespace(kernel=object()),
        display=SimpleNamespace(display=displayed.append),
    )
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    explanation.show()
    assert displayed == [explanation]


def test_wrong_arguments_of_explain_are_named(tagger: Tagger, red: Path) -> None:
    with pytest.raises(DataError, match="no label 'cats'; there are art, food"):
        tagger.explain(red, "cats")
    with pytest.raises(ConfigError, match=r"explain\(\): 'num_features'"):
        tagger.explain(red, num_features=0)
    with pytest.raises(ConfigError, match=r"explain\(\): 'mode'"):
        tagger.explain(red, mode="fast")  # type: ignore[arg-type]


def test_load_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        pintag.load(tmp_path / "none")
    registry = Registry(str(tmp_path / "models"))
    registry.add(str(bundles.write(tmp_path / "a", "a1")))
    with pytest.raises(BundleError, match="no version 'b2'; there are a1"):
        pintag.load(tmp_path / "models", version="b2")
    with pytest.raises(BundleError, match="pintag optimize"):
        pintag.load(tmp_path / "models", engine="openvino")


@pytest.mark.ray
def test_bundles_and_versions_are_loaded(
    bundle_dir: Path, quick_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    registry = Registry(str(tmp_path / "models"))
    for folder in (bundle_dir, quick_dir):
        registry.add(str(folder))
    old, new = (bundle.load(folder).manifest.version for folder in (bundle_dir, quick_dir))
    current = pintag.load(tmp_path / "models")
    latest = pintag.load(tmp_path / "models", version=new)
    assert f"{old}: 8 labels, tensorflow fp32" in repr(current)
    assert f"{new}: 8 labels, openvino int8" in repr(latest)
    picture = sample_dir / "test" / "art" / "art-0001.jpg"
    assert current.tag(picture)[0].label == latest.tag(picture)[0].label


@pytest.mark.ray
def test_the_example_notebook_runs(
    quick_dir: Path,
    sample_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/bundle").symlink_to(quick_dir)
    (tmp_path / "demo/data").symlink_to(sample_dir)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(os.fspath(ROOT / "docs/examples/notebook.py"))
    written = capsys.readouterr().out
    assert "8 labels, openvino int8" in written
    assert "(8, 8)" in written
    assert "<ImageExplanation" in written
    with Image.open("explanation.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"engine": "fast"}, "engine: one of auto, tensorflow, openvino, not 'fast'"),
        ({"precision": "int4"}, "precision: one of auto, fp32, int8, not 'int4'"),
    ],
)
def test_an_unknown_engine_or_precision_is_refused(
    tmp_path: Path, choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        pintag.load(bundles.write(tmp_path / "bundle", "a1"), **choice)
    assert str(raised.value) == message


def test_an_image_that_takes_too_long_to_decode_is_refused_by_itself(
    tagger: Tagger, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_decoding(monkeypatch)
    file = red.with_name("slow.jpg")
    file.write_bytes(data := slow_jpeg())
    for image in (data, file):
        for call in (tagger.tag, tagger.explain):
            with pytest.raises(DecodingError, match=r"takes more than 0\.1 s to decode, the limit"):
                call(image)
    assert tagger.tag(red)
