"""Two sources of explanations for a command: a bundle on this machine, and a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pintag.core.quiet import import_quietly
from pintag.core.types import Pixels, Progress
from pintag.explain.request import ExplanationRequest
from pintag.images import decoding
from pintag.models.bundle import ModelBundle
from pintag.models.identity import Model

if TYPE_CHECKING:
    # They import lime and scikit-image, which take a second.
    from pintag.explain.explanation import Explanation
    from pintag.explain.saved import SavedExplanation


class LocalExplainer:
    """Explains images with the model of a bundle."""

    def __init__(
        self, loaded: ModelBundle, request: ExplanationRequest, top_labels: int = 1
    ) -> None:
        """Build the engine.

        Args:
            top_labels: number of most confident labels to explain, if the request names none.

        Raises:
            DataError: the bundle does not have the label of the request.
        """
        from pintag.explain.explanation import ExplainConfig

        self.labels = loaded.labels
        self.model = Model(name=loaded.manifest.name, version=loaded.manifest.version)
        self._config = ExplainConfig.from_request(request)
        self._requested_labels: list[int] | int = top_labels
        if request.label is not None:
            self._requested_labels = [self.labels.index(request.label)]
        import_quietly("keras")
        self._engine = loaded.engine()
        self.predict = self._engine.predict

    def explain(self, data: bytes, progress: Progress) -> list[Explanation]:
        """Explain the requested labels of an encoded image, with the same samples.

        Raises:
            ImageError: the image cannot be decoded, or is not accepted.
            ExplainError: the image has more superpixels than the mode supports.
        """
        from pintag.explain.explanation import explain_labels

        done = 0

        def predict(pixels: Pixels) -> Any:
            nonlocal done
            confidences = self._engine.predict(pixels)
            done += len(pixels)
            progress(done, self._config.budget)
            return confidences

        pixels = decoding.decode(data, self._engine.input_size)
        return explain_labels(pixels, predict, self._requested_labels, self._config)

    def answers(self, data: bytes, progress: Progress) -> list[SavedExplanation]:
        """Like `explain`, but in the form of a server's answers."""
        from pintag.explain.saved import SavedExplanation

        return [
            SavedExplanation(
                explanation.to_answer(self.labels, self.model),
                explanation.segments,
                explanation.weights,
            )
            for explanation in self.explain(data, progress)
        ]


def read_answer(content: Any) -> SavedExplanation:
    """Validate and decode the JSON of a server's answer.

    Raises:
        ValueError: it is not an explanation.
    """
    from pintag.explain.saved import SavedExplanation
    from pintag.explain.schema import ExplanationAnswer

    return SavedExplanation.decode(ExplanationAnswer.model_validate(content))
