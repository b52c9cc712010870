"""The view model of the gallery: everything that its template shows, with encoded pictures."""

from __future__ import annotations

import io
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.segmentation import find_boundaries

from pintag.core import formatting
from pintag.core.text import valid
from pintag.core.types import Pixels
from pintag.data.labels import Labels
from pintag.explain import overlay, style
from pintag.explain.explanation import ExplainConfig, Explanation
from pintag.explain.sp_lime import Feature, Member, Pick
from pintag.models.identity import Model

_THUMBNAIL, _TILE = 320, 112
# The grey around a segment.
_GROUND = 150
# Number of segments that show what a feature looks like.
_EXAMPLES = 4


@dataclass(frozen=True)
class GalleryImage:
    """An explained image."""

    name: str
    explanation: Explanation
    picture: bytes
    """A JPEG in the proportions of the image, scaled for viewing."""


@dataclass(frozen=True)
class Figure:
    """An `<img>` element of the page."""

    source: str
    """A data URI."""
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class FeatureView:
    """A feature as the page shows it."""

    name: str
    tiles: list[Figure]
    """Typical segments, each from a different image."""
    images: int
    """Number of images that have the feature."""
    images_of_label: int
    share: float
    """Its importance divided by that of all features, 0 to 1."""
    number: int | None
    """The number of the pick that shows it first."""


@dataclass(frozen=True)
class NewFeatureView:
    """A feature that a pick shows first."""

    tile: Figure
    """The segment of the picked image that has the feature."""
    feature: FeatureView
    others: list[Figure]
    """Typical segments of other images."""


@dataclass(frozen=True)
class PickView:
    """A picked image as the page shows it."""

    number: int
    name: str
    label: str
    confidence: float
    thumbnail: Figure
    original: Figure
    overlay: Figure
    claim: str
    fit: str
    covered: float
    """The share of all importance that is covered up to this pick, 0 to 1."""
    added: float
    """The share that this pick adds."""
    new: list[NewFeatureView]
    shown_before: list[FeatureView]


@dataclass(frozen=True)
class GalleryView:
    """Everything that the template shows."""

    model: Model
    total: int
    """Number of explained images."""
    config: ExplainConfig
    picks: list[PickView]
    features: dict[str, list[FeatureView]]
    """The features of each label."""
    has_uncertain: bool
    """Whether an overlay has pale segments."""


def feature_names(picked: Pick, labels: Labels) -> list[str]:
    """A name for each feature: its label, and its number among the label's features."""
    return [
        f"{labels[label]} {number}"
        for label, features in groupby(picked.features, lambda feature: feature.label)
        for number, _ in enumerate(features, start=1)
    ]


def tile(picture: Pixels, inside: npt.NDArray[np.bool_]) -> Pixels:
    """Cut a segment out of a picture and outline it: `uint8[T,T,3]`.

    Args:
        inside: `bool[h,w]`, the segment; stretched over the picture.
    """
    height, width = picture.shape[:2]
    mask = Image.fromarray(inside).resize((width, height), Image.Resampling.NEAREST)
    left, top, right, bottom = mask.getbbox() or (0, 0, width, height)
    side = 1 + int(1.1 * max(right - left, bottom - top))
    left, top = (left + right - side) // 2, (top + bottom - side) // 2
    box, size = (left, top, left + side, top + side), (_TILE, _TILE)
    shown = np.asarray(mask.crop(box).resize(size, Image.Resampling.NEAREST))
    drawn = np.array(Image.fromarray(picture).crop(box).resize(size, Image.Resampling.LANCZOS))
    drawn[~shown] = _GROUND
    drawn[find_boundaries(shown) | find_boundaries(shown, mode="outer")] = style.FOR
    return drawn


@dataclass(frozen=True)
class ViewBuilder:
    """Builds the view from a pick."""

    subjects: Sequence[GalleryImage]
    picked: Pick
    labels: Labels
    model: Model
    tiles: dict[Member, Figure] = field(default_factory=dict)
    pictures: dict[int, tuple[Figure, Figure, Figure]] = field(default_factory=dict)
    """For each picked subject: a thumbnail, the original, and the overlay."""

    def build(self) -> GalleryView:
        self._draw()
        picks = [self._pick(position) for position in range(len(self.picked.indices))]
        features: dict[str, list[FeatureView]] = defaultdict(list)
        for feature, view in zip(self.picked.features, self.features, strict=True):
            features[self.labels[feature.label]].append(view)
        explanations = [self.subjects[index].explanation for index in self.picked.indices]
        return GalleryView(
            model=self.model,
            total=len(self.subjects),
            config=self.subjects[0].explanation.config,
            picks=picks,
            features=features,
            has_uncertain=any(_has_uncertain(explanation) for explanation in explanations),
        )

    @cached_property
    def features(self) -> list[FeatureView]:
        """Parallel to `picked.features`."""
        explained = Counter(subject.explanation.result.label for subject in self.subjects)
        numbers = {j: number for number, new in enumerate(self.picked.brings, start=1) for j in new}
        names = feature_names(self.picked, self.labels)
        return [
            FeatureView(
                name=name,
                tiles=[self.tiles[member] for member in _examples(feature)],
                images=feature.images,
                images_of_label=explained[feature.label],
                share=self._share(feature.importance),
                number=numbers.get(j),
            )
            for j, (name, feature) in enumerate(zip(names, self.picked.features, strict=True))
        ]

    def _share(self, importance: float) -> float:
        total = float(self.picked.importance.sum())
        return importance / total if total else 0.0

    def _pick(self, position: int) -> PickView:
        index, new = self.picked.indices[position], self.picked.brings[position]
        explanation = self.subjects[index].explanation
        answer = explanation.to_answer(self.labels, self.model)
        thumbnail, original, drawn = self.pictures[index]
        before = self._share(self.picked.coverage[position - 1]) if position else 0.0
        covered = self._share(self.picked.coverage[position])
        return PickView(
            number=position + 1,
            name=valid(self.subjects[index].name),
            label=answer.label,
            confidence=answer.confidence,
            thumbnail=thumbnail,
            original=original,
            overlay=drawn,
            claim=answer.summary.claim,
            fit=answer.summary.fit,
            covered=covered,
            added=covered - before,
            new=[self._new_feature(index, j) for j in new],
            shown_before=[
                self.features[int(j)]
                for j in np.flatnonzero(self.picked.weights[index])
                if j not in new
            ],
        )

    def _new_feature(self, index: int, j: int) -> NewFeatureView:
        feature = self.picked.features[j]
        others = [self.tiles[member] for member in _examples(feature, without=index)]
        return NewFeatureView(self.tiles[_own(feature, index)], self.features[j], others)

    def _draw(self) -> None:
        """Draw all pictures, image by image, so that only one decoded image is in memory."""
        for index, members in self._members_to_draw().items():
            subject = self.subjects[index]
            with Image.open(io.BytesIO(subject.picture)) as image:
                picture = np.asarray(image.convert("RGB"))
            if index in self.picked.indices:
                self.pictures[index] = self._pictures(subject, picture)
            alt = f"part of {valid(subject.name)}"
            for member in members:
                inside = subject.explanation.segments == member.segment
                self.tiles[member] = _figure(tile(picture, inside), alt)

    def _members_to_draw(self) -> dict[int, set[Member]]:
        """The segments that need a tile, by the index of their image."""
        members: list[Member] = []
        for feature in self.picked.features:
            members += _examples(feature)
        for index, new in zip(self.picked.indices, self.picked.brings, strict=True):
            for feature in (self.picked.features[j] for j in new):
                members += [_own(feature, index), *_examples(feature, without=index)]
        needed: dict[int, set[Member]] = {index: set() for index in self.picked.indices}
        for member in members:
            needed.setdefault(member.explanation, set()).add(member)
        return needed

    def _pictures(self, subject: GalleryImage, picture: Pixels) -> tuple[Figure, Figure, Figure]:
        explanation, name = subject.explanation, valid(subject.name)
        weights = explanation.weights[explanation.top()]
        label = self.labels[explanation.result.label]
        alt = (
            f"{name} with {formatting.count(len(weights), 'superpixel')} marked:"
            f" {(weights > 0).sum()} for {label}, {(weights < 0).sum()} against"
        )
        small = Image.fromarray(picture)
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return (
            _figure(np.asarray(small), ""),
            _figure(picture, name, subject.picture),
            _figure(explanation.overlay(picture=picture), alt),
        )


def _own(feature: Feature, index: int) -> Member:
    """The segment of one image that has the largest weight in a feature."""
    members = (member for member in feature.members if member.explanation == index)
    return max(members, key=lambda member: member.weight)


def _examples(feature: Feature, without: int | None = None) -> list[Member]:
    """The most typical segments of a feature, each from a different image."""
    firsts: dict[int, Member] = {}
    for member in feature.members:
        if member.explanation != without:
            firsts.setdefault(member.explanation, member)
    return list(firsts.values())[:_EXAMPLES]


def _has_uncertain(explanation: Explanation) -> bool:
    claimed = explanation.result.claimed
    return claimed is not None and claimed < len(explanation.top())


def _figure(pixels: Pixels, alt: str, file: bytes | None = None) -> Figure:
    """Encode pixels for the page; `file` is their JPEG, if it exists already."""
    height, width = pixels.shape[:2]
    data = b64encode(file or overlay.jpeg(pixels)).decode()
    return Figure(f"data:image/jpeg;base64,{data}", alt, width, height)
