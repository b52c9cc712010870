"""The plots of a report, each encoded as PNG and as SVG."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from pintag.evaluation import plots
from pintag.report.view import Picture

FOLDER = "figures"
# Phones show figures up to this width, in inches, without scrolling.
_NARROW = 6.5


@dataclass
class FigureStore:
    """The files of all plots of a report, by their paths below the report's folder."""

    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, figure: Figure, alt: str, caption: str = "") -> Picture:
        """Encode a figure as PNG and SVG.

        Args:
            name: the name of the files, without a suffix.
            alt: the description for readers who do not see the picture.

        Returns:
            The picture for the report: its file is the PNG, its data are the SVG.

        Raises:
            ValueError: another figure has this name.
        """
        path = f"{FOLDER}/{name}"
        if f"{path}.png" in self.files:
            raise ValueError(f"two figures have the name {name!r}")
        self.files[f"{path}.png"] = plots.encode(figure, "png")
        self.files[f"{path}.svg"] = plots.encode(figure, "svg")
        return Picture(
            f"{path}.png",
            self.files[f"{path}.svg"],
            "image/svg+xml",
            alt,
            caption,
            is_wide=figure.get_figwidth() > _NARROW,
        )


def slug(name: str) -> str:
    """A name as a part of a file name: letters, digits, dots and hyphens, at most 40."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:40] or "x"
