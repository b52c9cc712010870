"""`pintag explain --pick`: a gallery of a model's evidence, as a page and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import pintag
from tests.pintag.cli.conftest import Cli
from tests.pintag.conftest import Page

FEW = ["--num-samples", "40", "--segmentation", "slic"]


@pytest.fixture(scope="module")
def gallery(
    bundle_dir: Path, sample_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str, str]:
    """A gallery of 3 of 12 images. One more file is not an image, and one name is unusual."""
    folder = tmp_path_factory.mktemp("gallery")
    pictures = folder / "pictures"
    for number, picture in enumerate(sorted((sample_dir / "test").rglob("*.jpg"))[::4]):
        (pictures / picture.parent.name).mkdir(parents=True, exist_ok=True)
        name = '<script>"&amp;$x.jpg' if number == 3 else picture.name
        shutil.copy(picture, pictures / picture.parent.name / name)
    (pictures / "corrupt.jpg").write_bytes(b"no image")
    done = pintag(
        "explain", "--pick", "3", pictures, "--bundle", bundle_dir, "--out", folder / "out", *FEW
    )
    assert done.returncode == 1, done.stderr
    return pictures, folder / "out", done.stdout, done.stderr


@pytest.mark.keras
@pytest.mark.ray
def test_a_pick_is_printed_and_written(gallery: tuple[Path, Path, str, str]) -> None:
    pictures, out, output, errors = gallery
    assert errors.startswith(f"error: {pictures / 'corrupt.jpg'}: not an image")
    content = json.loads((out / "pick.json").read_text())
    assert content["images"] == 12
    assert len(content["picks"]) == 3
    assert str(out / "index.html") in output
    assert sorted(file.name for file in out.iterdir()) == ["index.html", "pick.json"]


@pytest.mark.keras
@pytest.mark.ray
def test_the_coverage_is_that_of_the_features(gallery: tuple[Path, Path, str, str]) -> None:
    pictures, out, *_ = gallery
    content = json.loads((out / "pick.json").read_text())
    features = {feature["name"]: feature for feature in content["features"]}
    assert len(features) == len(content["features"])
    shown: set[str] = set()
    for entry in content["picks"]:
        assert Path(content["folder"], entry["image"]).is_relative_to(pictures)
        assert not shown & set(entry["brings"])
        assert set(entry["brings"]) == set(entry["features"]) - shown
        shown |= set(entry["brings"])
        assert entry["coverage"] == pytest.approx(
            sum(features[name]["importance"] for name in shown)
        )
        for name in entry["features"]:
            assert features[name]["label"] == entry["label"]
            assert entry["image"] in {part["image"] for part in features[name]["segments"]}
    assert 0 < content["picks"][0]["share"] <= content["picks"][-1]["share"] <= 1


@pytest.mark.keras
@pytest.mark.ray
def test_the_gallery_is_one_file_that_shows_every_pick(
    gallery: tuple[Path, Path, str, str],
) -> None:
    _, out, *_ = gallery
    content = json.loads((out / "pick.json").read_text())
    text = (out / "index.html").read_text()
    page = Page(text)
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.images)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "http" not in text
    alts = [image["alt"] for image in page.images]
    words = page.words
    for number, entry in enumerate(content["picks"], start=1):
        assert f"pick-{number}" in page.ids
        assert entry["image"] in words
        assert entry["image"] in alts
        assert any(str(alt).startswith(f"{entry['image']} with ") for alt in alts)
    for feature in content["features"]:
        assert feature["name"] in words
    # The page does not reveal the folder of the pictures.
    assert content["folder"]
    assert content["folder"] not in text


@pytest.mark.keras
@pytest.mark.ray
def test_names_are_escaped(gallery: tuple[Path, Path, str, str]) -> None:
    """The unusual name is in the page, at least as the name of a tile."""
    _, out, *_ = gallery
    page = Page((out / "index.html").read_text())
    assert any('<script>"&amp;$x.jpg' in str(image["alt"]) for image in page.images)


@pytest.mark.keras
@pytest.mark.ray
def test_the_limit_selects_images_evenly(
    cli: Cli, bundle_dir: Path, sample_dir: Path, out: Path
) -> None:
    done = cli(
        "explain", "--pick", "9", sample_dir / "test", "--limit", "4", "--bundle", bundle_dir,
        "--out", out, "--json", *FEW,
    )  # fmt: skip
    assert done.code == 0
    assert done.err.splitlines() == [
        "48 images: explaining 4 of them, evenly spread",
        "warning: --pick 9 is more than the number of explained images, 4",
    ]
    content = json.loads(done.out)
    assert content == json.loads((out / "pick.json").read_text())
    files = sorted(sample_dir.joinpath("test").rglob("*.jpg"))
    # There are fewer images than requested, so all of them are picked.
    assert {Path(content["folder"], entry["image"]) for entry in content["picks"]} == {
        files[index] for index in (0, 16, 31, 47)
    }


@pytest.mark.keras
@pytest.mark.ray
def test_a_gallery_that_shows_little_gives_a_warning(
    cli: Cli, bundle_dir: Path, tmp_path: Path, out: Path
) -> None:
    """Hiding parts of a black picture with black changes nothing, so all weights are zero."""
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    done = cli(
        "explain", "--pick", "2", tmp_path, "--bundle", bundle_dir, "--out", out,
        "--num-samples", "32", "--segmentation", "slic",
    )  # fmt: skip
    assert done.code == 0
    assert "--pick 2 is more than the number of explained images, 1" in done.err
    assert "the gallery shows no features" in done.err


@pytest.mark.keras
@pytest.mark.ray
def test_no_image_that_can_be_explained_is_an_error(
    cli: Cli, bundle_dir: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    done = cli("explain", "--pick", "2", tmp_path / "a.jpg", "--bundle", bundle_dir, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert "no image could be explained, so none can be picked" in done.err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("names", [["nowhere"], ["nowhere", "nor/here.jpg"]], ids=len)
def test_missing_pictures_are_an_error(
    cli: Cli, tmp_path: Path, out: Path, names: list[str]
) -> None:
    done = cli("explain", "--pick", "2", *names, "--bundle", tmp_path / "none", "--out", out)
    assert (done.code, done.out) == (1, "")
    assert f"{', '.join(names)}: no such file or folder" in done.err
