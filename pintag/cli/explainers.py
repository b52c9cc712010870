"""Who explains an image for a command: a bundle here, or a server."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pintag import images
from pintag.bundle import ModelBundle
from pintag.cli import console
from pintag.images import Pixels

if TYPE_CHECKING:
    from pintag.explain import ExplainConfig, Explanation
    from pintag.superpixels import Segments
    from pintag.surrogate import Floats

Progress = Callable[[int, int], None]
"""Samples that were predicted, of how many at most."""


@dataclass(frozen=True)
class Question:
    """What is asked about each image; the names are the server's."""

    label: str | None
    num_features: int
    num_samples: int | None
    mode: Literal["reference", "stable"]
    segmentation: Literal["quickshift", "slic", "felzenszwalb"]
    seed: int
    positive_only: bool

    def query(self) -> dict[str, str | int | bool]:
        """For a server; it knows what to do where nothing is said."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def config(self) -> ExplainConfig:
        """For the library."""
        from pintag.explain import ExplainConfig
        from pintag.superpixels import ALGORITHMS

        return ExplainConfig(
            mode=self.mode,
            segmentation=ALGORITHMS[self.segmentation](),
            num_samples=self.num_samples,
            num_features=self.num_features,
            positive_only=self.positive_only,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Answer:
    """An explanation as it is told, and what is needed to draw it."""

    content: dict[str, Any]
    segments: Segments
    weights: Floats

    def overlay(self, picture: Pixels, positive_only: bool) -> Pixels:
        """The segments that were asked for, drawn on a picture of the image."""
        from pintag import overlay
        from pintag.surrogate import top

        chosen = top(self.weights, self.content["num_features"], positive_only)
        return overlay.draw(picture, overlay.mask(self.segments, self.weights, chosen))


class Local:
    """Explains by a bundle."""

    def __init__(self, loaded: ModelBundle, question: Question, top_labels: int = 1) -> None:
        """`top_labels` is how many of the most confident labels are explained, if none is named.

        Raises:
            DataError: the bundle has no such label.
        """
        self.labels = loaded.labels
        self.model = {"name": loaded.manifest.name, "version": loaded.manifest.version}
        self._config = question.config()
        named = question.label is not None
        self._wanted = [self.labels.index(str(question.label))] if named else top_labels
        console.import_quietly("keras")
        self._engine = loaded.engine()
        self.predict = self._engine.predict

    def explain(self, data: bytes, progress: Progress) -> list[Explanation]:
        """Every label that is wanted, by the same samples.

        Raises:
            ImageError: it is no image that is accepted.
            ExplainError: it has more superpixels than the mode can tell apart.
        """
        from pintag.explain import explain_labels

        done = 0

        def predict(pixels: Pixels) -> Any:
            nonlocal done
            confidences = self._engine.predict(pixels)
            done += len(pixels)
            progress(done, self._config.budget)
            return confidences

        pixels = images.decode(data, self._engine.input_size)
        return explain_labels(pixels, predict, self._wanted, self._config)

    def answers(self, data: bytes, progress: Progress) -> list[Answer]:
        """See `explain`."""
        return [
            Answer({"model": self.model, **each.to_json(self.labels)}, each.segments, each.weights)
            for each in self.explain(data, progress)
        ]


def read_answer(content: Any) -> Answer:
    """What a server answered.

    Raises:
        ValueError: it is no explanation.
    """
    from PIL.Image import DecompressionBombError

    from pintag import overlay
    from serve.protocol import ExplanationAnswer

    told = ExplanationAnswer.model_validate(content).model_dump()
    try:
        segments = overlay.read_segment_map(b64decode(told["segmentation"]["map"]))
    except (OSError, DecompressionBombError) as error:
        raise ValueError("the map of segments is no picture") from error
    weights = np.zeros(told["segmentation"]["count"])
    named = [each["segment"] for each in told["weights"]]
    if not 0 <= max(segments.max(), *named) < len(weights) or min(named, default=0) < 0:
        raise ValueError(f"a segment that is none of {len(weights)}")
    weights[named] = [each["weight"] for each in told["weights"]]
    return Answer(told, segments, weights)
