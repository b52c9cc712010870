"""Helpers for tests of explanations: images with known segments, simple models, HTML pages."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pintag.core.types import Pixels
from pintag.explain.perturbation import Masks
from pintag.explain.sampling import Predict
from pintag.explain.superpixels import Segments

Floats = npt.NDArray[np.float64]
LogOdds = Callable[[Masks], Floats]


def row(count: int) -> tuple[Pixels, Segments]:
    """An image with one white pixel for each of `count` segments, and the segments."""
    return np.full((1, count, 3), 255, np.uint8), np.arange(count, dtype=np.int32)[np.newaxis]


def shown(images: npt.NDArray[Any]) -> Masks:
    """The segments that are not black in perturbed copies `[N,1,K,3]` of a `row`: `bool[N,K]`."""
    return images[:, 0].any(axis=-1)


def model(*log_odds: LogOdds) -> Predict:
    """A predict function for rows: its confidence for each label has these log-odds."""

    def predict(images: npt.NDArray[Any]) -> Any:
        masks = shown(images)
        return expit(np.stack([of_label(masks) for of_label in log_odds], axis=-1))

    return predict


def additive(*weights: float, start: float = 0.0) -> LogOdds:
    """Log-odds without interactions: each segment that is shown adds its weight."""
    return lambda masks: start + masks @ np.array(weights)


def table(log_odds: npt.NDArray[np.floating[Any]]) -> LogOdds:
    """An arbitrary function of K segments; `float[2**K]` has its value for each set of them."""
    powers = 2 ** np.arange(len(log_odds).bit_length() - 1)
    return lambda masks: log_odds[masks @ powers]


def every_mask(segments: int) -> Masks:
    """Every mask of K segments in the order of `table`: `bool[2**K,K]`."""
    return (np.arange(2**segments)[:, np.newaxis] >> np.arange(segments) & 1).astype(bool)


def main_effects(log_odds: LogOdds, segments: int) -> Floats:
    """The average effect of showing each segment, over all sets of the other segments."""
    masks = every_mask(segments)
    values = log_odds(masks)
    return np.array([values[kept].mean() - values[~kept].mean() for kept in masks.T])


class Page(HTMLParser):
    """The images, links, anchors, tags and text of an HTML page."""

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
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(attributes)
        self.links += [str(attributes["href"])] if "href" in attributes else []
        self.ids += [str(attributes["id"])] if "id" in attributes else []

    def handle_data(self, data: str) -> None:
        self.words += data
