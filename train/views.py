"""Random views of a picture: what a small set lacks of the ways people upload pictures.

Photographs arrive cropped, on borders, mirrored, small or in other colours; a model that was shown
one shot of each learns those accidents, too. A view is a pure function of the picture, its digest,
the seed and a number, so that any worker draws the same one. How the ranges were chosen is in
docs/benchmarks.md, "Recipes tried on the photographs".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from pintag import dataset
from pintag.images import Pixels
from train.epochs import Indices, Rows
from train.step import Array

# Part of the key of every cached row of a view: raise it when one is drawn differently.
VERSION = 1
MIRROR = 1
"""View 0 is the picture, view 1 its mirror, and from 2 on they are random."""
_BILINEAR = Image.Resampling.BILINEAR


def view(pixels: Pixels, digest: str, seed: int, number: int) -> Pixels:
    """One view of a square picture `uint8[S,S,3]`, of the same shape.

    Args:
        digest: of the image's bytes, in hexadecimal: the order of a data set does not matter.
        number: 0 is the picture, 1 its mirror, any other a random view.
    """
    if number == 0:
        return pixels
    image = Image.fromarray(pixels)
    if number == MIRROR:
        return np.asarray(ImageOps.mirror(image))
    rng = np.random.default_rng((seed, number, int(digest, 16)))
    image = _framed(image, rng) if rng.random() < 0.2 else _cropped(image, rng)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.8, 1.2))
    if rng.random() < 0.2:
        image = _coarse(image, rng)
    return np.asarray(image)


def views(pixels: Pixels, digests: Sequence[str], seed: int, number: int) -> Pixels:
    """The same view of several pictures: `uint8[n,S,S,3]`, of the same shape."""
    return np.stack([view(*each, seed, number) for each in zip(pixels, digests, strict=True)])


def stored(count: int) -> range:
    """The numbers of the views that are stored beside the picture itself: the mirror, and more."""
    return range(MIRROR, MIRROR + 1 + count)


@dataclass(frozen=True)
class StoredViews:
    """Views whose features were computed beforehand: half of the time a plain one is shown."""

    plain: Rows
    """`[N, D]`: of the pictures."""
    others: Rows
    """`[N, 1+V, D]`: of their mirrors and random views, as `stored` numbers them."""
    count: int
    """V."""
    total: int
    """N."""
    seed: int

    def take(self, indices: Indices, epoch: int) -> Array:
        """What the rows at `indices` look like in an epoch: `[n, D]`."""
        numbers = _chosen(self.seed, epoch, self.total, self.count)[indices]
        rows = self.plain.take(indices)
        changed = np.flatnonzero(numbers)
        if len(changed):
            rows[changed] = self.others.take(indices[changed])[
                np.arange(len(changed)), numbers[changed] - MIRROR
            ]
        return rows


@dataclass(frozen=True)
class DrawnViews:
    """Views drawn while they are needed, new ones in every epoch: half of them plain."""

    pixels: Rows
    """`uint8[N,S,S,3]`."""
    digests: Sequence[str]
    """Of the N images."""
    seed: int

    def take(self, indices: Indices, epoch: int) -> Array:
        """What the rows at `indices` look like in an epoch: `uint8[n,S,S,3]`."""
        numbers = _chosen(self.seed, epoch, len(self.digests), 1)[indices]
        numbers[numbers > MIRROR] += epoch
        digests = [self.digests[index] for index in indices]
        seeds = [self.seed] * len(indices)
        with ThreadPoolExecutor(dataset.threads()) as pool:
            drawn = list(pool.map(view, self.pixels.take(indices), digests, seeds, numbers))
        return np.stack(drawn) if drawn else self.pixels.take(indices)


# Asked for with every batch, of which an epoch has many.
@lru_cache(maxsize=2)
def _chosen(seed: int, epoch: int, total: int, count: int) -> npt.NDArray[np.int64]:
    """Which view of each picture an epoch shows: half are plain, and half of those mirrored."""
    rng = np.random.default_rng((seed, epoch))
    plain = rng.integers(0, MIRROR + 1, total)
    random = rng.integers(MIRROR + 1, MIRROR + 1 + count, total)
    return np.where(rng.random(total) < 0.5, plain, random)


def _cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of 50 to 100 % of the area, its sides in a ratio of up to 1.4."""
    size = image.width
    area, ratio = rng.uniform(0.5, 1.0), math.exp(rng.uniform(-1, 1) * math.log(1.4))
    width, height = min(1.0, math.sqrt(area * ratio)), min(1.0, math.sqrt(area / ratio))
    x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    box = (x * size, y * size, (x + width) * size, (y + height) * size)
    return image.resize((size, size), _BILINEAR, box)


def _framed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The whole, made smaller, somewhere on white, black, its mean or any colour."""
    size = image.width
    width, height = (int(size * rng.uniform(0.5, 0.95)) for _ in range(2))
    mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
    colours = (np.full(3, 255), np.zeros(3), mean, rng.integers(0, 256, 3))
    red, green, blue = (int(part) for part in colours[rng.integers(len(colours))])
    canvas = Image.new("RGB", image.size, (red, green, blue))
    x, y = rng.integers(0, size - width + 1), rng.integers(0, size - height + 1)
    canvas.paste(image.resize((width, height), _BILINEAR), (int(x), int(y)))
    return canvas


def _coarse(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brought down to 20 to 70 % of its sides and up again, as a thumbnail is."""
    small = int(image.width * rng.uniform(0.2, 0.7))
    return image.resize((small, small), _BILINEAR).resize(image.size, _BILINEAR)
