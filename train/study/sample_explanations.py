"""Explanations of the winner's predictions on a few test images, as pictures for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pintag.core.errors import ExplainError
from pintag.core.types import Engine
from pintag.data.dataset import DataSet, Example
from pintag.explain import overlay
from pintag.explain.explanation import ExplainConfig, explain
from pintag.images import decoding
from pintag.report.results import ExplainedImage


def sample(data: DataSet, examples: Sequence[Example], per_label: int) -> list[Example]:
    """Return the first `per_label` examples of each label in the order of their digests."""
    return [
        example
        for target in range(len(data.labels))
        for example in sorted(
            (example for example in examples if example.target == target),
            key=lambda example: example.digest,
        )[:per_label]
    ]


def picture_name(example: Example) -> str:
    """Return the file of an image's explanation, relative to the study's folder."""
    return f"gallery/{example.target:03}-{example.digest[:12]}.jpg"


def original_name(example: Example) -> str:
    """Return the file of the image without its explanation, relative to the study's folder."""
    return picture_name(example).replace(".jpg", "-original.jpg")


def explain_example(
    data: DataSet, example: Example, engine: Engine, config: ExplainConfig
) -> tuple[ExplainedImage, Mapping[str, bytes]] | None:
    """Explain the prediction of one image.

    Returns:
        The explanation and two JPEG files by their names: the overlay and the original image. None
        if the image cannot be explained.
    """
    encoded = example.path.read_bytes()
    try:
        explanation = explain(
            decoding.decode(encoded, engine.input_size), engine.predict, config=config
        )
    except ExplainError:
        return None
    original = overlay.picture(encoded)
    explained = ExplainedImage(
        image=example.path.relative_to(data.root).as_posix(),
        label=data.labels[example.target],
        predicted=data.labels[explanation.result.label],
        confidence=explanation.result.confidence,
        picture=picture_name(example),
        original=original_name(example),
    )
    return explained, {
        picture_name(example): overlay.jpeg(explanation.overlay(picture=original)),
        original_name(example): overlay.jpeg(original),
    }
