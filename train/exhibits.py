"""Explanations of a model's answers, as pictures for a report."""

from __future__ import annotations

from collections.abc import Sequence

from pintag import images, overlay
from pintag.dataset import DataSet, Example
from pintag.engine import Engine
from pintag.errors import ExplainError
from pintag.explain import ExplainConfig, explain
from pintag.gallery import jpeg
from pintag.results import Explained


def chosen(data: DataSet, examples: Sequence[Example], per_label: int) -> list[Example]:
    """So many of each label, the first by their digests: nobody picked them."""
    return [
        example
        for target in range(len(data.labels))
        for example in sorted(
            (each for each in examples if each.target == target), key=lambda each: each.digest
        )[:per_label]
    ]


def name(data: DataSet, example: Example) -> str:
    """The file of an image's explanation, below the study's folder."""
    return f"gallery/{example.target:03}-{example.digest[:12]}.jpg"


def make(
    data: DataSet, example: Example, engine: Engine, config: ExplainConfig
) -> tuple[Explained, bytes] | None:
    """What carried the answer, and the overlay as a JPEG; none where it cannot be explained."""
    encoded = example.path.read_bytes()
    try:
        made = explain(images.decode(encoded, engine.input_size), engine.predict, config=config)
    except ExplainError:
        return None
    told = Explained(
        image=example.path.relative_to(data.root).as_posix(),
        label=data.labels[example.target],
        predicted=data.labels[made.finding.label],
        confidence=made.finding.confidence,
        picture=name(data, example),
    )
    return told, jpeg(made.overlay(picture=overlay.picture(encoded)))
