"""The report of a study: what was found, for people, as one HTML page and as Markdown.

Everything in it comes from the study's own figures; what is not known is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pintag import (
    charts,
    comparison,
    document,
    files,
    methods,
    portrait,
    quantities,
    recommendation,
    wording,
)
from pintag.document import Block, Document, Heading, Paragraph, Picture, Pictures, Table
from pintag.errors import DataError
from pintag.results import Explained, Results, Timings
from pintag.sketchbook import FOLDER, Sketchbook, slug

# Leaks that are listed; all of them stand in results.json.
_LISTED = 50
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


def write(folder: Path, results: Results, timings: Timings) -> None:
    """Write `report.html`, `report.md` and `figures/` into a study's folder.

    Figures that an earlier report left in `figures/` are removed: they are of other results.

    Raises:
        DataError: the timings, or the results themselves, name an entry that is none of theirs.
    """
    _check(results, timings)
    book = Sketchbook()
    made = _Report(folder, results, timings, book).document()
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for path, data in book.files.items():
        files.write_atomic(folder / path, data)
    files.write_atomic(folder / "report.html", document.html(made))
    files.write_atomic(folder / "report.md", document.markdown(made))
    kept = {folder / path for path in book.files}
    kept |= {folder / each.picture for each in results.explained}
    for old in (folder / FOLDER).iterdir():
        if old.suffix in (".png", ".svg") and old not in kept:
            old.unlink()


def _check(results: Results, timings: Timings) -> None:
    known = {entry.name for entry in results.entries}
    timed = {*timings.training, *(each.entry for each in timings.predictions), timings.fast_best}
    if strange := timed - known - {None}:
        raise DataError(f"timings of {_names(strange)}, of which the results know nothing")
    told = {results.best, *(name for each in results.pairs for name in (each.first, each.second))}
    told |= {each.entry for each in results.cross_validation}
    if strange := told - known - {None}:
        raise DataError(f"results of {_names(strange)}, which is no entry of them")


def _names(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(str(name) for name in names))


class _Report:
    def __init__(self, folder: Path, results: Results, timings: Timings, book: Sketchbook) -> None:
        self.folder, self.results, self.timings, self.book = folder, results, timings, book
        # Unique whatever the names are, and in the order of the study.
        self.files = {
            entry.name: f"{number:02}-{slug(entry.name)}"
            for number, entry in enumerate(results.entries, start=1)
        }
        self.anchors = {
            entry.name: f"model-{number}" for number, entry in enumerate(results.entries, start=1)
        }

    def document(self) -> Document:
        """All chapters, in order."""
        return Document(self.results.title, tuple(self._blocks()))

    def _blocks(self) -> Iterator[Block]:
        results = self.results
        yield from self._learnt_from()
        yield Heading("Which model to take", anchor="recommendation")
        yield from recommendation.chapter(results, self.timings)
        if results.entries:
            yield from comparison.chapter(results, self.timings, self.anchors, self.book)
            yield Heading("The models one by one", anchor="models")
        for entry in results.entries:
            name, anchor = self.files[entry.name], self.anchors[entry.name]
            yield from portrait.section(entry, results.data.labels, name, anchor, self.book)
        yield from self._failures()
        yield from self._cross_validation()
        yield from self._leaks()
        yield from self._explained()
        yield from self._seconds()
        yield from methods.chapter(results.config)

    def _learnt_from(self) -> Iterator[Block]:
        data = self.results.data
        total = sum(sum(of_split.values()) for of_split in data.counts.values())
        yield Heading("What was learnt from", anchor="data")
        yield Paragraph(
            f"{data.name}: {quantities.number(total)} images of {len(data.labels)} labels"
            f" (fingerprint {data.fingerprint}). Machine: {self.timings.machine}."
        )
        if data.synthetic:
            yield Paragraph(
                [
                    document.Strong("The images are synthetic. "),
                    "The figures show that everything works; of photographs they say nothing.",
                ]
            )
        else:
            yield Paragraph("The images are not synthetic.")
        rows = [
            (label, *(quantities.number(of.get(label, 0)) for of in data.counts.values()))
            for label in data.labels
        ]
        sums = [quantities.number(sum(of.values())) for of in data.counts.values()]
        yield Table("Images by label and split", ("label", *data.counts), (*rows, ("all", *sums)))

    def _failures(self) -> Iterator[Block]:
        yield Heading("What failed", anchor="failures")
        rows = []
        for entry in self.results.entries:
            if entry.failure:
                rows.append((entry.name, "the model", entry.failure))
            for number, trial in enumerate(entry.trials, start=1):
                if trial.failure:
                    settings = quantities.settings(trial.settings)
                    rows.append((entry.name, f"trial {number}: {settings}", trial.failure))
        if rows:
            yield Table("Failures and their reasons", ("model", "what", "reason"), tuple(rows))
        else:
            yield Paragraph("Nothing failed.")

    def _cross_validation(self) -> Iterator[Block]:
        yield Heading("Cross-validation", anchor="cross-validation")
        found = self.results.cross_validation
        if not found:
            yield Paragraph("No cross-validation was made.")
            return
        yield Paragraph(
            "The networks that the validation split cannot tell from the best on it (fine-tuned"
            " ones take too long), fitted and tested fold by fold on the training and validation"
            " images. Where a recipe chooses its epoch, the fold before it does."
        )
        yield Table(
            "Accuracy over the folds",
            ("model", "folds", "mean", "standard deviation", "lowest", "highest"),
            tuple(
                (
                    each.entry,
                    str(len(each.folds)),
                    quantities.interval(each.mean),
                    quantities.share(each.deviation),
                    quantities.share(min(fold.value for fold in each.folds)),
                    quantities.share(max(fold.value for fold in each.folds)),
                )
                for each in found
            ),
        )
        told = "; ".join(
            f"{each.entry} {', '.join(quantities.share(fold.value) for fold in each.folds)}"
            for each in found
        )
        yield self.book.picture(
            "cross-validation",
            charts.cross_validation(found),
            f"Accuracies of the folds: {told}.",
            "A box from the first to the third quartile, with the median. The interval of the mean"
            " is that of a t-test over the folds; they share training images, so it is rather too"
            " narrow.",
        )
        best = self.results.folds(self.results.best or "") or found[0]
        yield portrait.confusion(
            "cross-validation-confusion",
            f"{best.entry}, all folds together",
            best.confusion,
            self.results.data.labels,
            self.book,
        )

    def _leaks(self) -> Iterator[Block]:
        yield Heading("The same picture on two sides of a split", anchor="leaks")
        leaks = self.results.leaks
        if not leaks:
            yield Paragraph("No such pair is on record.")
            return
        moved = sum(leak.moved for leak in leaks)
        yield Paragraph(
            f"Pairs found, equal files or pictures whose perceptual hashes differ in a few bits:"
            f" {quantities.number(len(leaks))}. Pairs of which a picture was moved to the other's"
            f" side: {quantities.number(moved)}."
            + (f" The first {_LISTED} are listed." if len(leaks) > _LISTED else "")
        )
        yield Table(
            "Pictures on two sides of a split",
            ("one file", "the other", "kind", "bits", "moved"),
            tuple(
                (
                    each.first,
                    each.second,
                    each.kind,
                    str(each.distance),
                    "yes" if each.moved else "no",
                )
                for each in leaks[:_LISTED]
            ),
        )

    def _explained(self) -> Iterator[Block]:
        yield Heading("What the winner goes by", anchor="explained")
        if not self.results.explained:
            yield Paragraph("No picture was explained.")
            return
        yield Paragraph(
            "LIME (Ribeiro, Singh and Guestrin, KDD 2016): the superpixels of an image that weigh"
            " most for the label that was predicted, and against it."
        )
        pictures = [self._overlay(each) for each in self.results.explained]
        if shown := tuple(each for each in pictures if each):
            yield Pictures(shown)
        missing = [
            each.picture
            for each, picture in zip(self.results.explained, pictures, strict=True)
            if picture is None
        ]
        if missing:
            yield Paragraph(f"Not to be found: {', '.join(missing)}.")

    def _overlay(self, each: Explained) -> Picture | None:
        """None where there is no such file below the folder."""
        path = (self.folder / each.picture).resolve()
        kind = _KINDS.get(path.suffix.lower())
        if not (kind and path.is_relative_to(self.folder.resolve()) and path.is_file()):
            return None
        verdict = "right" if each.label == each.predicted else f"in truth {each.label}"
        said = f"{each.predicted} at {wording.percent(each.confidence)}, {verdict}"
        return Picture(
            each.picture,
            path.read_bytes(),
            kind,
            f"{each.image} with its superpixels marked: {said}.",
            f"{each.image}: {said}.",
        )

    def _seconds(self) -> Iterator[Block]:
        timings = self.timings
        yield Heading("What it took", anchor="seconds")
        for head, caption, taken in (
            ("stage", "Wall time of each stage", timings.stages),
            ("backbone", "Features of all images, one pass of each backbone", timings.features),
        ):
            if taken:
                rows = tuple((name, quantities.seconds(value)) for name, value in taken.items())
                yield Table(caption, (head, "time"), rows)
        if not timings.stages and not timings.features:
            yield Paragraph("No times of stages were taken.")
