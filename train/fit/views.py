"""Random views of an image: data augmentation for small data sets.

Users upload photographs that are cropped, framed, mirrored, small or differently coloured. A small
data set has few such variants, and a model learns accidental properties of its images. A view is a
pure function of the image, its digest, the seed and a number, so every worker computes the same
view. The ranges are explained in docs/benchmarks.md, "Recipes tried on the photographs".
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

from pintag.core import machine
from pintag.core.types import Array, Pixels
from pintag.train.fit.epochs import Indices, RowArray

# Part of the key of all cached features of views: increase it when views are computed differently.
VERSION = 1
MIRROR = 1
"""View 0 is the image itself, view 1 its mirror image; views from 2 on are random."""
_BILINEAR = Image.Resampling.BILINEAR


def view(pixels: Pixels, digest: str, seed: int, number: int) -> Pixels:
    """Return one view of a square image `uint8[S,S,3]`, of the same shape.

    Args:
        digest: the hexadecimal digest of the image file. It seeds the random numbers, so views do
            not depend on the order of the data set.
        number: 0 is the image itself, 1 its mirror image; other numbers are random views.
    """
    if number == 0:
        return pixels
    image = Image.fromarray(pixels)
    if number == MIRROR:
        return np.asarray(ImageOps.mirror(image))
    rng = np.random.default_rng((seed, number, int(digest, 16)))
    image = _frame(image, rng) if rng.random() < 0.2 else _crop(image, rng)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.8, 1.2))
    if rng.random() < 0.2:
        image = _coarsen(image, rng)
    return np.asarray(image)


def views(pixels: Pixels, digests: Sequence[str], seed: int, number: int) -> Pixels:
    """Return the view `number` of each image of `uint8[n,S,S,3]`, of the same shape."""
    return np.stack([view(*image, seed, number) for image in zip(pixels, digests, strict=True)])


def stored_numbers(count: int) -> range:
    """Return the numbers of the stored views of each image: its mirror and `count` random views."""
    return range(MIRROR, MIRROR + 1 + count)


@dataclass(frozen=True)
class StoredViews:
    """Stored features of views. Half of an epoch's rows are features of unchanged images."""

    plain: RowArray
    """`[N, D]`: features of the images."""
    views: RowArray
    """`[N, 1+V, D]`: features of the views that `stored_numbers` lists."""
    count: int
    """V, the random views of each image."""
    total: int
    """N, the images."""
    seed: int

    def take(self, indices: Indices, epoch: int) -> Array:
        """Return the rows at `indices` for an epoch: `[n, D]`."""
        numbers = _view_numbers(self.seed, epoch, self.total, self.count)[indices]
        rows = self.plain.take(indices)
        changed = np.flatnonzero(numbers)
        if len(changed):
            rows[changed] = self.views.take(indices[changed])[
                np.arange(len(changed)), numbers[changed] - MIRROR
            ]
        return rows


@dataclass(frozen=True)
class DrawnViews:
    """Views computed on demand, new ones in every epoch. Half of the images stay unchanged."""

    pixels: RowArray
    """`uint8[N,S,S,3]`."""
    digests: Sequence[str]
    """The digests of the N images."""
    seed: int

    def take(self, indices: Indices, epoch: int) -> Array:
        """Return the images at `indices` for an epoch: `uint8[n,S,S,3]`."""
        numbers = _view_numbers(self.seed, epoch, len(self.digests), 1)[indices]
        numbers[numbers > MIRROR] += epoch
        digests = [self.digests[index] for index in indices]
        seeds = [self.seed] * len(indices)
        with ThreadPoolExecutor(machine.allowed_cpus()) as pool:
            drawn = list(pool.map(view, self.pixels.take(indices), digests, seeds, numbers))
        return np.stack(drawn) if drawn else self.pixels.take(indices)


# Cached because every batch of an epoch needs it.
@lru_cache(maxsize=2)
def _view_numbers(seed: int, epoch: int, total: int, count: int) -> npt.NDArray[np.int64]:
    """Return the view number of each image in an epoch: `int64[N]`.

    Half of the images have view 0 or 1 (mirrored), the others a random view.
    """
    rng = np.random.default_rng((seed, epoch))
    plain = rng.integers(0, MIRROR + 1, total)
    random = rng.integers(MIRROR + 1, MIRROR + 1 + count, total)
    return np.where(rng.random(total) < 0.5, plain, random)


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Crop 50 to 100 % of the area, with a ratio of the sides up to 1.4."""
    size = image.width
    area, ratio = rng.uniform(0.5, 1.0), math.exp(rng.uniform(-1, 1) * math.log(1.4))
    width, height = min(1.0, math.sqrt(area * ratio)), min(1.0, math.sqrt(area / ratio))
    x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    box = (x * size, y * size, (x + width) * size, (y + height) * size)
    return image.resize((size, size), _BILINEAR, box)


def _frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale the image down and place it on a white, black, mean or random colour."""
    size = image.width
    width, height = (int(size * rng.uniform(0.5, 0.95)) for _ in range(2))
    mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
    colours = (np.full(3, 255), np.zeros(3), mean, rng.integers(0, 256, 3))
    red, green, blue = (int(part) for part in colours[rng.integers(len(colours))])
    canvas = Image.new("RGB", image.size, (red, green, blue))
    x, y = rng.integers(0, size - width + 1), rng.integers(0, size - height + 1)
    canvas.paste(image.resize((width, height), _BILINEAR), (int(x), int(y)))
    return canvas


def _coarsen(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scale the sides down to 20 to 70 % and up again, like an enlarged thumbnail."""
    small = int(image.width * rng.uniform(0.2, 0.7))
    return image.resize((small, small), _BILINEAR).resize(image.size, _BILINEAR)
