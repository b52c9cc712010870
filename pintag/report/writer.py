"""Write the report of a study: one HTML page, Markdown, and the figures of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pintag.core import files
from pintag.core.errors import DataError
from pintag.report import (
    comparison_section,
    cross_validation_section,
    data_section,
    failures_section,
    gallery_section,
    methods_section,
    model_section,
    rendering,
    timings_section,
    winner_section,
)
from pintag.report.comparison_section import Anchors
from pintag.report.figure_store import FOLDER, FigureStore, slug
from pintag.report.results import Results, Timings
from pintag.report.view import Report, Section


def write(folder: Path, results: Results, timings: Timings) -> None:
    """Write `report.html`, `report.md` and `figures/` into the folder of a study.

    Figures of an earlier report in `figures/` are removed.

    Raises:
        DataError: the results or the timings refer to a model that the results lack.
    """
    _check(results, timings)
    figures = FigureStore()
    report = build(folder, results, timings, figures)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for path, data in figures.files.items():
        files.write_atomic(folder / path, data)
    files.write_atomic(folder / "report.html", rendering.html(report))
    files.write_atomic(folder / "report.md", rendering.markdown(report))
    _remove_old_figures(folder, results, figures)


def build(folder: Path, results: Results, timings: Timings, figures: FigureStore) -> Report:
    """The report, whose figures are added to `figures`; nothing is written."""
    return Report(results.title, tuple(_sections(folder, results, timings, figures)))


def _sections(
    folder: Path, results: Results, timings: Timings, figures: FigureStore
) -> Iterator[Section]:
    yield winner_section.section(results, timings, folder)
    if results.fitted:
        anchors = {
            model.name: f"model-{number}" for number, model in enumerate(results.entries, start=1)
        }
        yield from comparison_section.sections(results, timings, anchors, figures)
        yield _models(results, anchors, figures)
    yield failures_section.section(results.entries)
    yield cross_validation_section.section(results, figures)
    yield gallery_section.section(results, folder)
    yield data_section.section(results.data, timings)
    yield data_section.leaks_section(results.leaks)
    yield timings_section.section(timings)
    yield methods_section.section(results.config)


def _models(results: Results, anchors: Anchors, figures: FigureStore) -> Section:
    """One section for each model that was fitted."""
    # The number keeps file names unique, whatever the names of the models are.
    file_names = {
        model.name: f"{number:02}-{slug(model.name)}"
        for number, model in enumerate(results.entries, start=1)
    }
    sections = tuple(
        model_section.section(
            model, results.data.labels, file_names[model.name], anchors[model.name], figures
        )
        for model in results.fitted
    )
    return Section("Each model", "models", sections=sections)


def _check(results: Results, timings: Timings) -> None:
    known = {model.name for model in results.entries}
    timed = {*timings.training, *(time.entry for time in timings.predictions), timings.fast_best}
    if unknown := timed - known - {None}:
        raise DataError(f"timings.json names {_names(unknown)}, but results.json has no such model")
    named = {results.best, *(name for pair in results.pairs for name in (pair.first, pair.second))}
    named |= {validation.entry for validation in results.cross_validation}
    if unknown := named - known - {None}:
        raise DataError(f"results.json names {_names(unknown)}, but has no such model")


def _names(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(str(name) for name in names))


def _remove_old_figures(folder: Path, results: Results, figures: FigureStore) -> None:
    kept = {folder / path for path in figures.files}
    for image in results.explained:
        kept |= {folder / path for path in (image.picture, image.original) if path}
    for path in (folder / FOLDER).iterdir():
        if path.suffix in (".png", ".svg") and path not in kept:
            path.unlink()
