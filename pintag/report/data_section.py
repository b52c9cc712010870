"""The sections about the data set of a study: its images, and duplicates across its splits."""

from __future__ import annotations

from collections.abc import Sequence

from pintag.core import formatting
from pintag.report.results import DataSummary, ReportedLeak, Timings
from pintag.report.view import Paragraph, Section, Strong, Table

# results.json has all duplicates; the report has the first ones.
_LISTED = 50


def section(data: DataSummary, timings: Timings) -> Section:
    """The number of images by label and split."""
    total = sum(sum(counts.values()) for counts in data.counts.values())
    rows = [
        (label, *(formatting.number(counts.get(label, 0)) for counts in data.counts.values()))
        for label in data.labels
    ]
    sums = [formatting.number(sum(counts.values())) for counts in data.counts.values()]
    return Section(
        "The data set",
        "data",
        (
            Paragraph(
                f"{data.name}: {formatting.number(total)} images with {len(data.labels)} labels"
                f" (fingerprint {data.fingerprint}). Machine: {timings.machine}."
            ),
            _origin(data),
            Table("Images by label and split", ("label", *data.counts), (*rows, ("all", *sums))),
        ),
    )


def leaks_section(leaks: Sequence[ReportedLeak]) -> Section:
    """Images that are in two splits."""
    title, anchor = "Duplicates across splits", "leaks"
    if not leaks:
        return Section(title, anchor, (Paragraph("No duplicates were found."),))
    moved = sum(leak.moved for leak in leaks)
    return Section(
        title,
        anchor,
        (
            Paragraph(
                "Equal files, or images whose perceptual hashes differ in a few bits."
                f" Pairs: {formatting.number(len(leaks))}. Pairs whose second image was moved to"
                f" the split of the first: {formatting.number(moved)}."
                + (f" The table has the first {_LISTED} pairs." if len(leaks) > _LISTED else "")
            ),
            Table(
                "Images in two splits",
                ("first file", "second file", "kind", "different bits", "moved"),
                tuple(
                    (
                        leak.first,
                        leak.second,
                        leak.kind,
                        str(leak.distance),
                        "yes" if leak.moved else "no",
                    )
                    for leak in leaks[:_LISTED]
                ),
            ),
        ),
    )


def _origin(data: DataSummary) -> Paragraph:
    if not data.synthetic:
        return Paragraph("The images are not synthetic.")
    return Paragraph(
        [
            Strong("The images are synthetic. "),
            "The figures show that the study works; they say nothing about photographs.",
        ]
    )
