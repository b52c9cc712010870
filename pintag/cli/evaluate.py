"""`pintag evaluate`: score a bundle on labelled images."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt
from rich.table import Table

from pintag.cli import console
from pintag.cli.console import escape
from pintag.core import files, formatting, text
from pintag.core.errors import DataError
from pintag.core.quiet import import_quietly
from pintag.data import dataset
from pintag.data.dataset import Example
from pintag.data.labels import Labels
from pintag.models import registry
from pintag.models.bundle import EngineChoice, ModelBundle

if TYPE_CHECKING:
    from pintag.evaluation.metrics import Evaluation, Predictions

# The matrix of more labels than this is wider than any terminal.
_MATRIX = 30


@dataclass(frozen=True)
class EngineScores:
    """One engine's predictions for the images, and their scores."""

    predictions: Predictions
    evaluation: Evaluation


@click.command(short_help="Score a bundle on labelled images.")
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--data", "data_dir", required=True, type=click.Path(path_type=Path), help="The data set."
)
@click.option(
    "--split",
    default=dataset.TEST,
    show_default=True,
    help="The split to score. A flat <label>/* folder counts as one split.",
)
@click.option(
    "--batch-size",
    default=32,
    show_default=True,
    type=click.IntRange(1),
    help="Images that are predicted together.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write evaluation.json, confusion.png and predictions.csv into this folder.",
)
@console.json_option
def evaluate(
    bundle: str, data_dir: Path, split: str, batch_size: int, out: Path | None, as_json: bool
) -> None:
    """Score BUNDLE, a bundle or a registry, on labelled images.

    \b
    Example:
      pintag evaluate runs/pins --data pins --out runs/pins-test

    The command prints accuracy, macro F1, expected calibration error (ECE), the scores of every
    label, the confusion matrix, and the time per image. They are the scores of the engine that
    `pintag serve` would use on this machine. A second table compares all engines of the bundle.
    """
    loaded = registry.load(bundle)
    if out:
        files.require_writable(out)
    with console.progress("reading") as progress:
        files_of_split = dataset.scan_split(data_dir, split, loaded.labels, progress)
    examples, unreadable = files_of_split.examples, files_of_split.unreadable
    console.skipped(unreadable)
    console.left_out(files_of_split.left_out)
    console.not_utf8(example.path for example in examples)
    import_quietly("keras")
    scores = _score_engines(loaded, examples, batch_size)
    scored = None if dataset.is_flat(data_dir) else split
    skipped = [text.valid(str(file.path)) for file in unreadable]
    report = _report(loaded, scores, scored, batch_size, skipped)
    serving = scores[loaded.choose()]
    if out:
        _write(out, report, serving, examples, loaded)
    if as_json:
        console.print_json(report)
    else:
        _show(serving, loaded.labels, scored)
        _compare(report["engines"], loaded.choose())


def _score_engines(
    loaded: ModelBundle, examples: Sequence[Example], batch_size: int
) -> dict[EngineChoice, EngineScores]:
    """Score every engine of the bundle; the one that `pintag serve` would use comes first."""
    from pintag.evaluation import metrics

    scores = {}
    for choice in dict.fromkeys([loaded.choose(), *loaded.engines()]):
        engine = loaded.engine(choice)
        # The first call with a batch size compiles kernels: not a part of the time per image.
        metrics.predict(engine, examples[:batch_size], batch_size)
        with console.progress(f"tagging, {choice}") as progress:
            predictions = metrics.predict(engine, examples, batch_size, progress)
        evaluation = metrics.evaluate(predictions.confidences, predictions.targets, loaded.labels)
        scores[choice] = EngineScores(predictions, evaluation)
    return scores


def _report(
    loaded: ModelBundle,
    scores: dict[EngineChoice, EngineScores],
    split: str | None,
    batch_size: int,
    unreadable: list[str],
) -> dict[str, Any]:
    """The content of evaluation.json; `split` is None for all images of a flat folder."""
    choice, serving = next(iter(scores.items()))
    return {
        "model": {"name": loaded.manifest.name, "version": loaded.manifest.version},
        "engine": choice.kind,
        "precision": choice.precision,
        "split": split,
        "batch_size": batch_size,
        **serving.evaluation.to_json(),
        "seconds_per_image": serving.predictions.seconds_per_image,
        "engines": [_row(*engine_scores, serving) for engine_scores in scores.items()],
        "unreadable": unreadable,
    }


def _row(choice: EngineChoice, scores: EngineScores, serving: EngineScores) -> dict[str, Any]:
    """One engine's row of the comparison."""
    first = scores.predictions.confidences.argmax(axis=1)
    same = first == serving.predictions.confidences.argmax(axis=1)
    return {
        **choice._asdict(),
        "accuracy": scores.evaluation.accuracy,
        "macro_f1": scores.evaluation.macro_f1,
        "ece": scores.evaluation.ece,
        "agreement": float(same.mean()),
        "seconds_per_image": scores.predictions.seconds_per_image,
    }


def _compare(rows: list[dict[str, Any]], serving: EngineChoice) -> None:
    if len(rows) == 1:
        return
    same = f"same first label as {serving}"
    table = console.table("engine", "accuracy", "ECE", same, "ms per image")
    for row in rows:
        table.add_row(
            f"{row['kind']} {row['precision']}",
            f"{row['accuracy']:.2%}",
            f"{row['ece']:.3f}",
            f"{row['agreement']:.2%}",
            f"{1000 * row['seconds_per_image']['engine']:.2f}",
        )
    console.out.print(table)
    console.out.print(f"The scores above are from {serving}, the engine that would serve.")


def _write(
    out: Path,
    report: dict[str, object],
    serving: EngineScores,
    examples: Sequence[Example],
    loaded: ModelBundle,
) -> None:
    from pintag.evaluation import plots

    split = f", {report['split']}" if report["split"] else ""
    title = f"{loaded.manifest.name} {loaded.manifest.version}{split}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        files.write_atomic(out / "evaluation.json", formatting.to_json(report) + "\n")
        picture = plots.confusion_matrix(serving.evaluation.confusion, loaded.labels, title)
        files.write_atomic(out / "confusion.png", picture)
        table = _predictions_csv(serving.predictions, examples, loaded.labels)
        files.write_atomic(out / "predictions.csv", table)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {files.reason(error)}") from error


def _predictions_csv(predictions: Predictions, examples: Sequence[Example], labels: Labels) -> str:
    content = io.StringIO()
    rows = csv.writer(content)
    rows.writerow(["path", "label", "predicted", *labels])
    for example, row in zip(examples, predictions.confidences, strict=True):
        confidences = [f"{confidence:.6f}" for confidence in row]
        path = text.valid(str(example.path))
        rows.writerow([path, labels[example.target], labels[int(row.argmax())], *confidences])
    return content.getvalue()


def _show(scores: EngineScores, labels: Labels, split: str | None) -> None:
    evaluation, seconds = scores.evaluation, scores.predictions.seconds_per_image
    per_label = console.table("label", "precision", "recall", "F1", "images")
    for name, score in evaluation.per_label.items():
        cells = (f"{value:.3f}" for value in (score.precision, score.recall, score.f1))
        per_label.add_row(escape(name), *cells, str(score.support))
    console.out.print(per_label)
    console.out.print(_confusion_table(evaluation.confusion, labels))
    where = f"the {split} split" if split else "a folder without splits"
    console.out.print(
        f"accuracy {evaluation.accuracy:.2%}, macro F1 {evaluation.macro_f1:.3f}, "
        f"ECE {evaluation.ece:.3f} on {evaluation.images} images of {escape(where)}; "
        f"{1000 * seconds['engine']:.2f} ms per image in the engine, "
        f"{1000 * seconds['total']:.2f} ms in total with decoding in threads",
        soft_wrap=True,
    )


def _confusion_table(confusion: npt.NDArray[np.integer], labels: Labels) -> Table:
    """The confusion matrix, or only the most frequent confusions of many labels."""
    if len(labels) <= _MATRIX:
        table = console.table("true \\ predicted", *map(escape, labels))
        for name, row in zip(labels, confusion, strict=True):
            table.add_row(escape(name), *(str(count) if count else "·" for count in row))
        return table
    wrong = confusion * (1 - np.eye(len(labels), dtype=confusion.dtype))
    table = console.table("most frequent confusions", "predicted", "images")
    for index in np.argsort(-wrong, axis=None, kind="stable")[: console.MOST]:
        row, column = divmod(int(index), len(labels))
        if count := wrong[row, column]:
            table.add_row(escape(labels[row]), escape(labels[column]), str(count))
    return table
