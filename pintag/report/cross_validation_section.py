"""The section about cross-validation."""

from __future__ import annotations

from pintag.core import formatting
from pintag.report import charts, model_section
from pintag.report.figure_store import FigureStore
from pintag.report.results import Results
from pintag.report.view import Paragraph, Picture, Section, Table


def section(results: Results, figures: FigureStore) -> Section:
    """The accuracy of each network over the folds, and the errors of the best one."""
    title, anchor = "Cross-validation", "cross-validation"
    if not results.cross_validation:
        return Section(title, anchor, (Paragraph("There was no cross-validation."),))
    shown = results.cross_validation_of(results.best or "") or results.cross_validation[0]
    return Section(
        title,
        anchor,
        (
            Paragraph(
                "The networks that do not differ significantly from the best one on the validation"
                " split, fitted and tested fold by fold on the training and validation images."
                " Fine-tuned networks are left out, as they take too long. Where a network chooses"
                " its epoch, it does so by the fold before the test fold."
            ),
            _table(results),
            _chart(results, figures),
            model_section.confusion(
                "cross-validation-confusion",
                f"{shown.entry}, all folds together",
                shown.confusion,
                results.data.labels,
                figures,
            ),
        ),
    )


def _table(results: Results) -> Table:
    return Table(
        "Accuracy over the folds",
        ("model", "folds", "mean", "standard deviation", "lowest", "highest"),
        tuple(
            (
                validation.entry,
                str(len(validation.folds)),
                formatting.interval(validation.mean),
                formatting.share(validation.deviation),
                formatting.share(min(fold.value for fold in validation.folds)),
                formatting.share(max(fold.value for fold in validation.folds)),
            )
            for validation in results.cross_validation
        ),
    )


def _chart(results: Results, figures: FigureStore) -> Picture:
    text = "; ".join(
        f"{validation.entry} {', '.join(formatting.share(fold.value) for fold in validation.folds)}"
        for validation in results.cross_validation
    )
    return figures.add(
        "cross-validation",
        charts.cross_validation(results.cross_validation),
        f"Accuracies of the folds: {text}.",
        "A box extends from the first to the third quartile; its line is the median. The interval"
        " of the mean is that of a t-test over the folds. As the folds share training images, it is"
        " somewhat too narrow.",
    )
