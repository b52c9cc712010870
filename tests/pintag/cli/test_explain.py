"""`pintag explain`: its usage, and explanations by a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag.data.labels import DEFAULT_NAMES
from pintag.explain import overlay
from pintag.explain.explanation import ExplainConfig, explain
from pintag.explain.figure import Layout
from pintag.explain.superpixels import Slic
from pintag.images import decoding
from pintag.models import bundle
from tests.pintag.cli.conftest import Canned, Cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "IMAGE"),
        (["a.jpg"], "give either --bundle or --url"),
        (["a.jpg", "--bundle", "b", "--url", "u"], "give either --bundle or --url"),
        (["a.jpg", "--url", "u", "--pick", "2"], "--pick needs a --bundle"),
        (["a.jpg", "--url", "u", "--top-labels", "2"], "--top-labels needs a --bundle"),
        (
            ["a.jpg", "--bundle", "b", "--top-labels", "2", "--label", "art"],
            "cannot be combined with --label",
        ),
        (
            ["a.jpg", "--bundle", "b", "--top-labels", "2", "--pick", "2"],
            "cannot be combined with --label or --pick",
        ),
        (["a.jpg", "--bundle", "b", "--limit", "2"], "--limit needs --pick"),
        (["a.jpg", "--bundle", "b", "--mode", "fast"], "'reference', 'stable'"),
        (["a.jpg", "--bundle", "b", "--num-samples", "1"], "--num-samples"),
        (["a.jpg", "--bundle", "b", "--pick", "0"], "--pick"),
        (["a.jpg", "--bundle", "b", "--seed", "-1"], "--seed"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli("explain", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_missing_bundle_is_named_and_nothing_is_written(cli: Cli, grey: Path, out: Path) -> None:
    done = cli("explain", grey, "--bundle", out.parent / "none", "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {out.parent / 'none'}: no bundle here")
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_reported_before_any_request(
    cli: Cli, explaining: Canned, grey: Path
) -> None:
    for below in (grey, grey / "out"):
        done = cli("explain", grey, "--url", explaining.url, "--out", below)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {below}: cannot be written: ")
    assert explaining.requests == []


@pytest.fixture
def picture(sample_dir: Path) -> Path:
    return sample_dir / "test" / "art" / "art-0001.jpg"


FEW = ["--num-samples", "40", "--segmentation", "slic"]


@pytest.mark.keras
@pytest.mark.ray
def test_a_bundle_explains_like_the_library(
    cli: Cli, bundle_dir: Path, picture: Path, out: Path
) -> None:
    done = cli("explain", picture, "--bundle", bundle_dir, "--out", out, "--json", *FEW)
    assert (done.code, done.err) == (0, "")
    [answer] = json.loads(done.out)
    loaded = bundle.load(bundle_dir)
    engine = loaded.engine()
    expected = explain(
        decoding.decode(picture.read_bytes(), engine.input_size),
        engine.predict,
        config=ExplainConfig(num_samples=40, segmentation=Slic()),
    )
    weights = {item["segment"]: item["weight"] for item in answer["weights"]}
    assert [weights[segment] for segment in range(len(weights))] == pytest.approx(
        expected.weights.tolist()
    )
    assert answer["label"] == loaded.labels[expected.result.label]
    assert answer["model"] == {"name": loaded.manifest.name, "version": loaded.manifest.version}
    drawn = expected.overlay(picture=overlay.picture(picture.read_bytes()))
    left, top = Layout(*drawn.shape[:2]).origin
    with Image.open(answer["files"][0]) as image:
        written = np.asarray(image)[top : top + len(drawn), left : left + drawn.shape[1]]
        np.testing.assert_array_equal(written, drawn)


@pytest.mark.keras
@pytest.mark.ray
def test_the_most_confident_labels_share_their_samples(
    cli: Cli, bundle_dir: Path, picture: Path, out: Path
) -> None:
    tags = json.loads(cli("tag", picture, "--bundle", bundle_dir, "--json").out)[0]["tags"]
    done = cli(
        "explain", picture, "--bundle", bundle_dir, "--out", out, "--json", "--top-labels", "3",
        *FEW,
    )  # fmt: skip
    answers = json.loads(done.out)
    assert [answer["label"] for answer in answers] == [tag["label"] for tag in tags]
    assert len({answer["segmentation"]["map"] for answer in answers}) == 1
    assert len({tuple(answer["files"]) for answer in answers}) == 3
    one = cli(
        "explain", picture, "--bundle", bundle_dir, "--out", out, "--json", "--label",
        answers[1]["label"], *FEW,
    )  # fmt: skip
    assert json.loads(one.out)[0]["weights"] == answers[1]["weights"]


@pytest.mark.keras
@pytest.mark.ray
def test_an_unknown_label_is_an_error_that_lists_the_labels(
    cli: Cli, bundle_dir: Path, picture: Path, out: Path
) -> None:
    done = cli("explain", picture, "--bundle", bundle_dir, "--out", out, "--label", "cats")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: no label 'cats'; there are {', '.join(DEFAULT_NAMES)}\n"
    assert not out.exists()


@pytest.mark.keras
@pytest.mark.ray
def test_bad_images_among_good_ones_are_named_with_the_reason(
    cli: Cli, bundle_dir: Path, picture: Path, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no image")
    shutil.copy(picture, folder / "b.jpg")
    Image.fromarray(noise(512)).save(folder / "c.png")
    done = cli(
        "explain", folder, "--bundle", bundle_dir, "--out", out, "--mode", "stable",
        "--num-samples", "80", "--segmentation", "felzenszwalb",
    )  # fmt: skip
    assert done.code == 1
    assert done.err.startswith(f"error: {folder}/a.jpg: not an image")
    assert done.out.startswith(f"{folder}/b.jpg: ")
    assert "deadline" not in done.out


def noise(size: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
