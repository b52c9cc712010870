"""A server's explanation of four quarters, for the tests of `pintag explain`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pintag.data.labels import DEFAULT_NAMES, Labels
from pintag.explain.explanation import ExplainConfig, Explanation, PhaseSeconds
from pintag.explain.figure import Layout
from pintag.explain.surrogate import LabelExplanation, Surrogate
from pintag.models.identity import Model

LABELS = Labels(DEFAULT_NAMES)
ART = LABELS.index("art")
# Four quarters: for, against, nothing, and a little for.
QUARTERS = np.kron(np.array([[0, 1], [2, 3]], np.int32), np.ones((16, 16), np.int32))
WEIGHTS = [0.5, -0.25, 0.0, 0.125]
# Of the picture `grey`.
OVERLAY = Layout(240, 480)
MODEL = Model(name="canned", version="0123456789ab")


def explanation(**changes: Any) -> Explanation:
    surrogate = Surrogate(np.array(WEIGHTS), -1.0, 0.75, 0.8, "probability")
    base = Explanation(
        image=np.zeros((32, 32, 3), np.uint8),
        segments=QUARTERS,
        result=LabelExplanation(ART, 0.8, surrogate, "budget"),
        samples=1000,
        seconds=PhaseSeconds(0.5, 1.0, 0.5),
        config=ExplainConfig(),
    )
    return replace(base, **changes)


def answer(**changes: Any) -> dict[str, Any]:
    """The JSON of a server's answer."""
    return explanation().to_answer(LABELS, MODEL).model_dump() | changes


def quarters(path: Path | str) -> list[tuple[int, ...]]:
    """The colour in each quarter of the overlay of `grey`, beside the badge in its middle."""
    height, width = OVERLAY.height, OVERLAY.width
    left, top = OVERLAY.origin
    with Image.open(path) as image:
        assert image.mode == "RGB"
        pixels = np.asarray(image)
    points = [(top + y * height // 8, left + x * width // 8) for y in (1, 7) for x in (1, 7)]
    return [tuple(map(int, pixels[point])) for point in points]
