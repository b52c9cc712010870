"""`pintag evaluate`: a bundle against labelled images."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from pintag import dataset, files, registry
from pintag.bundle import EngineChoice, ModelBundle
from pintag.cli import console
from pintag.dataset import Example
from pintag.errors import DataError
from pintag.labels import Labels

if TYPE_CHECKING:
    from pintag.evaluation import Evaluation, Prediction


@click.command()
@click.argument("place", metavar="BUNDLE")
@click.option("--data", "data_dir", required=True, type=click.Path(path_type=Path))
@click.option("--split", default=dataset.TEST, show_default=True, help="Ignored for a flat folder.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write evaluation.json, confusion.png and predictions.csv into this folder.",
)
@console.json_option
def evaluate(
    place: str, data_dir: Path, split: str, batch_size: int, out: Path | None, as_json: bool
) -> None:
    """Score BUNDLE on labelled images.

    Accuracy; precision, recall and F1 of each label; macro F1; expected calibration error;
    confusion matrix; seconds per image, in the engine and in all; of the engine that would serve,
    beside a line for each other engine of the bundle. A flat <label>/* folder is one split.
    """
    loaded = registry.load(place)
    with console.progress("reading") as progress:
        examples, unreadable = dataset.scan_split(data_dir, split, loaded.labels, progress)
    for file in unreadable:
        console.skipped(file)
    console.import_quietly("keras")
    from pintag import evaluation

    serving = loaded.choose()
    found: dict[EngineChoice, tuple[Prediction, Evaluation]] = {}
    # The one that serves comes first, and none twice.
    for choice in dict.fromkeys([serving, *loaded.engines()]):
        engine = loaded.engine(choice)
        # The first call of a shape builds its kernels; that is no image's time.
        evaluation.predict(engine, examples[:batch_size], batch_size)
        with console.progress(f"tagging, {choice}") as progress:
            predicted = evaluation.predict(engine, examples, batch_size, progress)
        scored = evaluation.evaluate(predicted.confidences, predicted.targets, loaded.labels)
        found[choice] = predicted, scored
    predicted, scored = found[serving]
    report: dict[str, Any] = {
        "model": {"name": loaded.manifest.name, "version": loaded.manifest.version},
        "engine": serving.kind,
        "precision": serving.precision,
        "batch_size": batch_size,
        **scored.to_json(),
        "seconds_per_image": predicted.seconds_per_image,
        "engines": [_line(choice, *each, predicted) for choice, each in found.items()],
        "unreadable": [str(file.path) for file in unreadable],
    }
    if out:
        _write(out, report, scored, predicted, examples, loaded)
    if as_json:
        console.print_json(report)
    else:
        _show(scored, predicted, loaded.labels)
        _compare(report["engines"], serving)


def _line(
    choice: EngineChoice, predicted: Prediction, scored: Evaluation, serving: Prediction
) -> dict[str, Any]:
    """One engine among the others."""
    same = predicted.confidences.argmax(axis=1) == serving.confidences.argmax(axis=1)
    return {
        **choice._asdict(),
        "accuracy": scored.accuracy,
        "macro_f1": scored.macro_f1,
        "ece": scored.ece,
        "agreement": float(same.mean()),
        "seconds_per_image": predicted.seconds_per_image,
    }


def _compare(lines: list[dict[str, Any]], serving: EngineChoice) -> None:
    if len(lines) == 1:
        return
    shown = console.table("engine", "accuracy", "ECE", "same first label", "ms per image")
    for line in lines:
        shown.add_row(
            f"{line['kind']} {line['precision']}",
            f"{line['accuracy']:.2%}",
            f"{line['ece']:.3f}",
            f"{line['agreement']:.2%}",
            f"{1000 * line['seconds_per_image']['engine']:.2f}",
        )
    console.out.print(shown)
    console.out.print(f"all else above is of {serving}, which would serve")


def _write(
    out: Path,
    report: dict[str, object],
    scored: Evaluation,
    predicted: Prediction,
    examples: list[Example],
    loaded: ModelBundle,
) -> None:
    from pintag import plots

    title = f"{loaded.manifest.name} {loaded.manifest.version}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        files.write_atomic(out / "evaluation.json", json.dumps(report, indent=2) + "\n")
        picture = plots.confusion_matrix(scored.confusion, loaded.labels, title)
        files.write_atomic(out / "confusion.png", picture)
        rows = _predictions(predicted, examples, loaded.labels)
        files.write_atomic(out / "predictions.csv", rows)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error


def _predictions(predicted: Prediction, examples: list[Example], labels: Labels) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["path", "label", "predicted", *labels])
    for example, row in zip(examples, predicted.confidences, strict=True):
        confidences = [f"{confidence:.6f}" for confidence in row]
        rows.writerow(
            [example.path, labels[example.target], labels[int(row.argmax())], *confidences]
        )
    return text.getvalue()


def _show(scored: Evaluation, predicted: Prediction, labels: Labels) -> None:
    scores = console.table("label", "precision", "recall", "F1", "images")
    for name, score in scored.per_label.items():
        figures = (f"{value:.3f}" for value in (score.precision, score.recall, score.f1))
        scores.add_row(escape(name), *figures, str(score.support))
    console.out.print(scores)
    confusion = console.table("true \\ predicted", *map(escape, labels))
    for name, row in zip(labels, scored.confusion, strict=True):
        confusion.add_row(escape(name), *(str(count) if count else "·" for count in row))
    console.out.print(confusion)
    seconds = predicted.seconds_per_image
    console.out.print(
        f"accuracy {scored.accuracy:.2%}, macro F1 {scored.macro_f1:.3f}, ECE {scored.ece:.3f} "
        f"on {scored.images} images; {1000 * seconds['engine']:.2f} ms per image in the engine, "
        f"{1000 * seconds['total']:.2f} ms in all, decoding in threads beside it",
        soft_wrap=True,
    )
