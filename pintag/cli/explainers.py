"""Who explains an image for a command: a bundle here, or a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pintag import images
from pintag.bundle import ModelBundle
from pintag.cli import console
from pintag.images import Pixels
from pintag.question import Question

if TYPE_CHECKING:
    # These bring lime and scikit-image, which take a second.
    from pintag.explain import Explanation
    from pintag.told import Told

Progress = Callable[[int, int], None]
"""Samples that were predicted, of how many at most."""


class Local:
    """Explains by a bundle."""

    def __init__(self, loaded: ModelBundle, question: Question, top_labels: int = 1) -> None:
        """`top_labels` is how many of the most confident labels are explained, if none is named.

        Raises:
            DataError: the bundle has no such label.
        """
        from pintag.explain import ExplainConfig

        self.labels = loaded.labels
        self.model = {"name": loaded.manifest.name, "version": loaded.manifest.version}
        self._config = ExplainConfig.of(question)
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

    def answers(self, data: bytes, progress: Progress) -> list[Told]:
        """See `explain`."""
        from pintag.told import Told

        return [
            Told({"model": self.model, **each.to_json(self.labels)}, each.segments, each.weights)
            for each in self.explain(data, progress)
        ]


def read_answer(content: Any) -> Told:
    """What a server answered.

    Raises:
        ValueError: it is no explanation.
    """
    from pintag.told import Told
    from serve.protocol import ExplanationAnswer

    return Told.read(ExplanationAnswer.model_validate(content).model_dump())
