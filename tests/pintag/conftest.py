"""What explanations are tested with: images of known segments, models of which are shown, pages."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pintag.images import Pixels
from pintag.perturbation import Masks
from pintag.sampling import Predict
from pintag.superpixels import Segments

Floats = npt.NDArray[np.float64]
LogOdds = Callable[[Masks], Floats]


def row(count: int) -> tuple[Pixels, Segments]:
    """An image of one white pixel for each of `count` segments, and the segments."""
    return np.full((1, count, 3), 255, np.uint8), np.arange(count, dtype=np.int32)[np.newaxis]


def shown(images: npt.NDArray[Any]) -> Masks:
    """Of copies `[N,1,K,3]` of a `row`, the segments that are not black: `bool[N,K]`."""
    return images[:, 0].any(axis=-1)


def model(*log_odds: LogOdds) -> Predict:
    """Predicts rows: of each label the confidence that has these log-odds."""

    def predict(images: npt.NDArray[Any]) -> Any:
        masks = shown(images)
        return expit(np.stack([of_label(masks) for of_label in log_odds], axis=-1))

    return predict


def additive(*weights: float, start: float = 0.0) -> LogOdds:
    """Every segment shown adds its weight, whatever else is shown."""
    return lambda masks: start + masks @ np.array(weights)


def table(log_odds: npt.NDArray[np.floating[Any]]) -> LogOdds:
    """Any function at all of K segments, as `float[2**K]`: its value for each set of them."""
    powers = 2 ** np.arange(len(log_odds).bit_length() - 1)
    return lambda masks: log_odds[masks @ powers]


def every_mask(segments: int) -> Masks:
    """`bool[2**K,K]`, in the order of `table`."""
    return (np.arange(2**segments)[:, np.newaxis] >> np.arange(segments) & 1).astype(bool)


def main_effects(log_odds: LogOdds, segments: int) -> Floats:
    """What showing a segment adds on average over every set of the others."""
    masks = every_mask(segments)
    values = log_odds(masks)
    return np.array([values[kept].mean() - values[~kept].mean() for kept in masks.T])


class Page(HTMLParser):
    """What a page shows and refers to."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(given)
        self.links += [str(given["href"])] if "href" in given else []
        self.ids += [str(given["id"])] if "id" in given else []

    def handle_data(self, data: str) -> None:
        self.words += data
