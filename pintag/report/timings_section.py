"""The section about the times of a study."""

from __future__ import annotations

from collections.abc import Mapping

from pintag.core import formatting
from pintag.report.results import Timings
from pintag.report.view import Paragraph, Section, Table


def section(timings: Timings) -> Section:
    """The wall time of each stage and of each backbone."""
    tables = (
        _table("Wall time of each stage", "stage", timings.stages),
        _table("Features of all images by backbone", "backbone", timings.features),
    )
    not_measured = Paragraph("The times of the stages were not measured.")
    return Section(
        "Times", "times", tuple(table for table in tables if table.rows) or (not_measured,)
    )


def _table(caption: str, head: str, seconds: Mapping[str, float]) -> Table:
    rows = tuple((name, formatting.seconds(value)) for name, value in seconds.items())
    return Table(caption, (head, "time"), rows)
