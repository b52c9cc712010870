"""The gallery: one file that shows a pick, escapes all names, and needs no network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pintag.core.types import Floats
from pintag.data.labels import Labels
from pintag.explain import gallery, gallery_view, overlay, style
from pintag.explain.explanation import ExplainConfig, Explanation, PhaseSeconds
from pintag.explain.gallery_view import GalleryImage
from pintag.explain.sp_lime import Pick, pick
from pintag.explain.surrogate import LabelExplanation, Surrogate
from pintag.models.identity import Model
from tests.pintag.conftest import Page

LABELS = Labels(("<b>bold</b>", "plain"))
MODEL = Model(name="<model>", version="0123456789ab")
ODD = '<script>alert("&amp;")</script> $lead \udcff ü.jpg'
HALVES = np.repeat(np.array([0, 1], np.int32), 16)[None].repeat(32, axis=0)


def subject(name: str, label: int, weights: list[float]) -> GalleryImage:
    random = np.random.default_rng(len(name))
    image = random.integers(0, 256, (32, 32, 3), np.uint8)
    surrogate = Surrogate(np.array(weights), 0.0, 0.5, 0.9, "probability")
    result = LabelExplanation(label, 0.9999, surrogate, "budget")
    explanation = Explanation(image, HALVES, result, 10, PhaseSeconds(0, 0, 0), ExplainConfig())
    return GalleryImage(name, explanation, overlay.jpeg(image.repeat(4, axis=0).repeat(4, axis=1)))


def flat(images: Floats) -> Floats:
    return np.full((len(images), 2), 0.5)


def rendered(subjects: list[GalleryImage], count: int) -> tuple[Page, Pick, str]:
    picked = pick([subject.explanation for subject in subjects], count, flat)
    content = gallery.render(subjects, picked, LABELS, MODEL)
    return Page(content), picked, content


@pytest.fixture
def several() -> list[GalleryImage]:
    return [
        subject(ODD, 0, [0.5, 0.25]),
        *(subject("n" * size, size % 2, [0.5, -0.25]) for size in range(1, 6)),
    ]


def test_every_pick_has_its_original_its_overlay_and_an_anchor(several: list[GalleryImage]) -> None:
    page, picked, _ = rendered(several, 3)
    alts = [str(image["alt"]) for image in page.images]
    for number, index in enumerate(picked.indices, start=1):
        name = several[index].name.replace("\udcff", "\\xff")
        assert f"pick-{number}" in page.ids
        assert name in page.words
        assert name in alts
        against = int((several[index].explanation.weights < 0).sum())
        assert any(
            alt.startswith(f"{name} with 2 superpixels marked:")
            and alt.endswith(f", {against} against")
            for alt in alts
        )
    assert page.tags.count("article") == 3


def test_every_feature_is_named_and_shown(several: list[GalleryImage]) -> None:
    page, picked, _ = rendered(several, 1)
    names = gallery_view.feature_names(picked, LABELS)
    assert len(set(names)) == len(names) == len(picked.features)
    for name in names:
        assert name in page.words
    assert "in none of the picked images" in page.words
    for one, two in itertools.pairwise(names):
        assert one.split()[:-1] != two.split()[:-1] or int(one.split()[-1]) < int(two.split()[-1])


def test_the_page_needs_no_network(several: list[GalleryImage]) -> None:
    page, _, content = rendered(several, 3)
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.images)
    assert all("alt" in image for image in page.images)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "http" not in content
    assert "url(" not in content
    assert "@import" not in content


def test_names_are_escaped(several: list[GalleryImage]) -> None:
    page, _, content = rendered(several, 6)
    assert '<script>alert("&amp;")</script> $lead \\xff ü.jpg' in page.words
    assert "<b>bold</b>" in page.words
    assert "What <model> uses as evidence" in page.words
    content.encode()


def test_each_original_is_shown_beside_its_overlay(several: list[GalleryImage]) -> None:
    page, picked, _ = rendered(several, 3)
    alts = [str(image["alt"]) for image in page.images]
    for index in picked.indices:
        name = several[index].name.replace("\udcff", "\\xff")
        original = alts.index(name)
        assert alts[original + 1].startswith(f"{name} with ")


def test_the_legend_names_the_colours_of_the_overlays(several: list[GalleryImage]) -> None:
    page, _, content = rendered(several, 3)
    assert "evidence for the label" in page.words
    assert "evidence against the label" in page.words
    assert "rank and weight" in page.words
    # No overlay here has uncertain segments.
    assert "the rank is uncertain" not in page.words
    for colour in (style.FOR, style.AGAINST):
        assert "#" + bytes(colour).hex() in content


def test_a_pick_without_features_is_a_page() -> None:
    page, picked, _ = rendered([subject("one", 0, [0.0, -0.5])], 3)
    assert picked.features == []
    assert "Adds nothing" in page.words
    assert page.tags.count("article") == 1


def test_a_confidence_is_never_rounded_to_certainty_but_full_coverage_is_100_percent(
    several: list[GalleryImage],
) -> None:
    page, *_ = rendered(several, 1)
    assert ">\u00a099\u00a0% confidence" in page.words
    assert "100\u00a0% covered" not in page.words
    page, *_ = rendered(several, 6)
    assert "100\u00a0% covered" in page.words


def test_a_tile_shows_only_its_segment() -> None:
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[:] = (10, 200, 10)
    picture[:, :60] = (200, 10, 10)
    inside = np.zeros((6, 6), bool)
    inside[2:4, 3:] = True
    tile = gallery_view.tile(picture, inside).astype(int)
    height, width, _ = tile.shape
    assert height == width
    assert tuple(tile[height // 2, width // 2]) == (10, 200, 10)
    # The segment has no pixels above and below.
    assert np.ptp(tile[2, width // 2]) == np.ptp(tile[-3, width // 2]) == 0
    assert (tile[..., 0] < 180).all()
    # The segment fills the width of the tile, and is half as high.
    green = (tile == (10, 200, 10)).all(axis=-1)
    assert green.any(axis=0).mean() > 0.8
    assert 0.2 < green.any(axis=1).mean() < 0.45
