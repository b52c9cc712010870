"""The gallery of a pick: one HTML file, pictures inside, that needs no network."""

from __future__ import annotations

import io
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from importlib import resources
from itertools import groupby
from string import Template

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.segmentation import find_boundaries

from pintag import overlay, wording
from pintag.explain import Explanation
from pintag.images import Pixels
from pintag.labels import Labels
from pintag.pick import Feature, Member, Pick

_TEMPLATE = resources.files("pintag") / "gallery.html"
_THUMBNAIL, _TILE = 160, 112
# The grey around a segment.
_GROUND = 150
# Segments that show what a feature looks like.
_EXAMPLES = 4


@dataclass(frozen=True)
class Subject:
    """An image that was explained."""

    name: str
    explanation: Explanation
    picture: bytes
    """A JPEG, in its own proportions and of a size to look at."""


def render(
    subjects: Sequence[Subject], picked: Pick, labels: Labels, model: Mapping[str, str]
) -> str:
    """The page; `picked` is of the subjects' explanations, `model` has a name and a version."""
    return _Page(subjects, picked, labels, model).html()


def titles(picked: Pick, labels: Labels) -> list[str]:
    """Of each feature a name: its label, and its place among the label's features."""
    return [
        f"{labels[label]} {number}"
        for label, found in groupby(picked.features, lambda feature: feature.label)
        for number, _ in enumerate(found, start=1)
    ]


def tile(picture: Pixels, inside: npt.NDArray[np.bool_]) -> Pixels:
    """What lies inside a mask `bool[h,w]` over the picture, outlined, as a square."""
    height, width = picture.shape[:2]
    mask = Image.fromarray(inside).resize((width, height), Image.Resampling.NEAREST)
    left, top, right, bottom = mask.getbbox() or (0, 0, width, height)
    side = 1 + int(1.1 * max(right - left, bottom - top))
    left, top = (left + right - side) // 2, (top + bottom - side) // 2
    box, size = (left, top, left + side, top + side), (_TILE, _TILE)
    shown = np.asarray(mask.crop(box).resize(size, Image.Resampling.NEAREST))
    drawn = np.array(Image.fromarray(picture).crop(box).resize(size, Image.Resampling.LANCZOS))
    drawn[~shown] = _GROUND
    drawn[find_boundaries(shown) | find_boundaries(shown, mode="outer")] = overlay.FOR
    return drawn


def jpeg(pixels: Pixels) -> bytes:
    """A picture as a file, of a size for pages."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


@dataclass(frozen=True)
class _Page:
    subjects: Sequence[Subject]
    picked: Pick
    labels: Labels
    model: Mapping[str, str]
    tiles: dict[Member, str] = field(default_factory=dict)
    """Tags of images, as are the others."""
    pictures: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Of each picked subject: a thumbnail, the picture, and its overlay."""

    def html(self) -> str:
        self._draw()
        count, total = len(self.picked.indices), len(self.subjects)
        covered = self._share(self.picked.coverage[-1])
        lead = (
            f"{count} of {wording.count(total, 'image')}, chosen one after another, each for what"
            f" it adds: together they show {_covered(covered)} of what carries the model's"
            " decisions in all of them."
        )
        return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
            heading=_text(f"What {self.model['name']} goes by"),
            version=_text(f"version {self.model['version']}"),
            lead=lead,
            strip="\n".join(self._strip(place) for place in range(count)),
            picks="\n".join(self._card(place) for place in range(count)),
            summary=self._summary(),
            features="\n".join(self._label(*each) for each in self._by_label()),
            notes=self._notes(),
        )

    @cached_property
    def titles(self) -> list[str]:
        return titles(self.picked, self.labels)

    @cached_property
    def explained(self) -> Counter[int]:
        """How many images there are of each label."""
        return Counter(subject.explanation.finding.label for subject in self.subjects)

    @cached_property
    def shown_by(self) -> dict[int, int]:
        """The number of the pick that brings a feature."""
        return {
            feature: number
            for number, brings in enumerate(self.picked.brings, start=1)
            for feature in brings
        }

    def _share(self, coverage: float) -> float:
        total = float(self.picked.importance.sum())
        return coverage / total if total else 0.0

    def _own(self, index: int, feature: Feature) -> Member:
        """The segment that carries a feature most in one image."""
        return max(
            (member for member in feature.members if member.explanation == index),
            key=lambda member: member.weight,
        )

    def _examples(self, feature: Feature, but: int | None = None) -> list[Member]:
        """Typical segments of a feature, each of another image."""
        firsts: dict[int, Member] = {}
        for member in feature.members:
            if member.explanation != but:
                firsts.setdefault(member.explanation, member)
        return list(firsts.values())[:_EXAMPLES]

    def _draw(self) -> None:
        """All pictures, image by image: each is decoded once, and one at a time is in memory."""
        wanted: dict[int, set[Member]] = defaultdict(set)
        features = self.picked.features
        for index, brings in zip(self.picked.indices, self.picked.brings, strict=True):
            wanted[index] |= {self._own(index, features[j]) for j in brings}
            for j in brings:
                for member in self._examples(features[j], but=index):
                    wanted[member.explanation].add(member)
        for feature in features:
            for member in self._examples(feature):
                wanted[member.explanation].add(member)
        for index, members in wanted.items():
            subject = self.subjects[index]
            with Image.open(io.BytesIO(subject.picture)) as image:
                picture = np.asarray(image.convert("RGB"))
            if index in self.picked.indices:
                self.pictures[index] = self._pictures(subject, picture)
            for member in members:
                inside = subject.explanation.segments == member.segment
                self.tiles[member] = _image(tile(picture, inside), f"part of {subject.name}")

    def _pictures(self, subject: Subject, picture: Pixels) -> tuple[str, str, str]:
        found = subject.explanation
        weights = found.weights[found.top()]
        label = self.labels[found.finding.label]
        marked = (
            f"{subject.name} with {wording.count(len(weights), 'superpixel')} marked:"
            f" {(weights > 0).sum()} for {label}, {(weights < 0).sum()} against"
        )
        small = Image.fromarray(picture)
        small.thumbnail((_THUMBNAIL * 2, _THUMBNAIL * 2))
        return (
            _image(np.asarray(small), ""),
            _embedded(subject.picture, picture, subject.name),
            _image(found.overlay(picture=picture), marked),
        )

    def _progress(self, place: int) -> tuple[float, float]:
        """The share that is covered after a pick, and what part of that is new with it."""
        after = self._share(self.picked.coverage[place])
        before = self._share(self.picked.coverage[place - 1]) if place else 0.0
        return after, (after - before) / after if after else 0.0

    def _strip(self, place: int) -> str:
        index = self.picked.indices[place]
        after, new = self._progress(place)
        finding = self.subjects[index].explanation.finding
        label = _text(self.labels[finding.label])
        return (
            f'<li><a href="#pick-{place + 1}">'
            f'<div class="rise"><i style="--after: {after:.4f}; --new: {new:.4f}"></i></div>'
            f"{self.pictures[index][0]}"
            f'<p><b>{place + 1}. {label}</b><br><span class="soft">{_covered(after)}'
            " covered</span></p></a></li>"
        )

    def _card(self, place: int) -> str:
        index, brings = self.picked.indices[place], self.picked.brings[place]
        subject, number = self.subjects[index], place + 1
        finding = subject.explanation.finding
        _, picture, marked = self.pictures[index]
        after, new = self._progress(place)
        score = finding.surrogate.score
        claim = wording.claim(subject.explanation.to_json(self.labels))
        return f"""\
<article class="pick" id="pick-{number}" aria-labelledby="title-{number}">
<header><span class="number">{number}</span>
<h2 id="title-{number}">{_text(self.labels[finding.label])}</h2>
<span class="figures">{_percent(finding.confidence)} confidence</span>
<span class="name soft small">{_text(subject.name)}</span></header>
<div class="seen"><figure>{picture}<figcaption>The image</figcaption></figure>
<figure>{marked}<figcaption>What weighs most</figcaption></figure>
<div class="progress">
<div class="meter"><i style="--after: {after:.4f}; --new: {new:.4f}"></i></div>
<p class="small figures">{_covered(after)} covered up to here, {_covered(after * new)} by this image
</p>{self._shown_already(index, brings)}
<p class="small soft">{_text(claim)}; {subject.explanation.samples} samples,
surrogate R²&nbsp;{score:.2f}</p></div></div>
<div class="said"><h3>{self._news(brings)}</h3>
<ul class="brings">{"".join(self._brought(index, j) for j in brings)}</ul></div>
</article>"""

    def _news(self, brings: Sequence[int]) -> str:
        if not brings:
            return "Brings nothing that is not shown above"
        return f"Brings {wording.count(len(brings), 'feature')}"

    def _brought(self, index: int, j: int) -> str:
        feature = self.picked.features[j]
        own = self.tiles[self._own(index, feature)]
        others = "".join(self.tiles[each] for each in self._examples(feature, but=index))
        more = f'<div class="more">{others}</div>' if others else ""
        return (
            f"<li>{own}<div><b>{_text(self.titles[j])}</b>"
            f' <span class="small soft">{self._where(feature)}</span>{more}</div></li>'
        )

    def _where(self, feature: Feature) -> str:
        return f"in {feature.images} of {wording.count(self.explained[feature.label], 'image')}"

    def _shown_already(self, index: int, brings: Sequence[int]) -> str:
        old = [int(j) for j in np.flatnonzero(self.picked.weights[index]) if j not in brings]
        if not old:
            return ""
        links = ", ".join(
            f'<a href="#pick-{self.shown_by[j]}">{_text(self.titles[j])}</a>' for j in old
        )
        return f'<p class="small">Also in it, and shown above: {links}</p>'

    def _by_label(self) -> Iterator[tuple[int, list[int]]]:
        features = self.picked.features
        for label, found in groupby(range(len(features)), lambda j: features[j].label):
            yield label, list(found)

    def _label(self, label: int, columns: Sequence[int]) -> str:
        listed = "\n".join(self._word(j) for j in columns)
        return f'<h3>{_text(self.labels[label])}</h3>\n<ul class="words">\n{listed}\n</ul>'

    def _word(self, j: int) -> str:
        feature = self.picked.features[j]
        tiles = "".join(self.tiles[each] for each in self._examples(feature))
        number = self.shown_by.get(j)
        where = (
            f'<a href="#pick-{number}">image {number}</a>'
            if number
            else '<span class="missing">in none of the picked images</span>'
        )
        return (
            f'<li><div class="tiles">{tiles}</div><p><b>{_text(self.titles[j])}</b> · {where}<br>'
            f'<span class="small soft">{self._where(feature)};'
            f" {self._share(feature.importance):.1%} of all</span></p></li>"
        )

    def _summary(self) -> str:
        features = wording.count(len(self.picked.features), "feature")
        return (
            f"{features} in {wording.count(len(self.subjects), 'image')}: kinds of segment that are"
            " alike and speak for one label, with their most typical segments. A feature's share"
            " of all grows with the images of its label that it is in, and with its part in them."
            f" {len(self.shown_by)} of them are shown above."
        )

    def _notes(self) -> str:
        config = self.subjects[0].explanation.config
        return f"""\
<p><b>How it was made.</b> Each image was explained by LIME ({config.mode} mode,
{config.segmentation.algorithm}, up to {config.budget} samples); its {config.num_features} most
important segments count as far as they speak for the label. Segments of one label were sorted by
their looks (colour, texture, size and place) and by what the model says of each alone, and the
images picked by SP-LIME: Ribeiro, Singh &amp; Guestrin, “Why Should I Trust You?”, KDD 2016.</p>
<p><b>How to read it.</b> A feature is a cluster of segments, and no concept: people may see two
things in one, or one thing in two. Weights are those of a surrogate around each image;
where its R² is low they say little. A picture that speaks for the wrong label, or a background
that speaks for the right one, is worth a second look.</p>"""


def _text(value: str) -> str:
    """Escaped; a name that is no text is shown with its bytes spelt out."""
    return escape(value.encode(errors="backslashreplace").decode())


def _image(pixels: Pixels, alt: str) -> str:
    return _embedded(jpeg(pixels), pixels, alt)


def _embedded(data: bytes, pixels: Pixels, alt: str) -> str:
    height, width = pixels.shape[:2]
    source = f"data:image/jpeg;base64,{b64encode(data).decode()}"
    return f'<img alt="{_text(alt)}" width="{width}" height="{height}" src="{source}">'


def _percent(share: float) -> str:
    return escape(wording.percent(share))


def _covered(share: float) -> str:
    """As `_percent`; but nothing is nothing, and all is all."""
    exact = round(share, 9)
    return f"{exact:.0%}".replace("%", "\u00a0%") if exact in (0, 1) else _percent(share)
