"""Stage 8: explains the winner's predictions on a few test images."""

from __future__ import annotations

from pintag.data.dataset import TEST, DataSet, Example
from pintag.explain.explanation import ExplainConfig
from pintag.models.bundle import ModelBundle
from pintag.report.results import ExplainedImage
from pintag.train.study import sample_explanations
from pintag.train.study.sample_explanations import picture_name
from pintag.train.study.stages.stage import Stage, StudyContext

_TITLE = "explaining"


class Explanations(Stage[list[ExplainedImage]]):
    """Explains a few images of each label and stores the overlays."""

    def __init__(self, context: StudyContext, data: DataSet, winner: ModelBundle) -> None:
        self._context, self._data, self._winner = context, data, winner
        per_label = context.config.gallery.per_label
        self._examples = sample_explanations.sample(data, data.splits[TEST], per_label)

    def is_done(self) -> bool:
        """Return whether every image is explained."""
        return not self._missing()

    def run(self) -> None:
        store, progress = self._context.store, self._context.progress(_TITLE)
        gallery = self._context.config.gallery
        config = ExplainConfig(mode=gallery.mode, num_features=gallery.num_features)
        engine = self._winner.engine()
        missing = self._missing()
        for number, example in enumerate(missing, start=1):
            with store.timed(_TITLE):
                explanation = sample_explanations.explain_example(
                    self._data, example, engine, config
                )
            if explanation is None:
                store.record("explained", picture_name(example), None)
            else:
                image, pictures = explanation
                for name, content in pictures.items():
                    store.write(name, content)
                store.record("explained", picture_name(example), image.model_dump())
            progress(number, len(missing))

    def result(self) -> list[ExplainedImage]:
        """Return the explained images, without those that could not be explained."""
        recorded = self._context.store.recorded("explained")
        images = [recorded[picture_name(example)] for example in self._examples]
        return [ExplainedImage.model_validate(image) for image in images if image]

    def _missing(self) -> list[Example]:
        recorded = self._context.store.recorded("explained")
        return [example for example in self._examples if picture_name(example) not in recorded]
