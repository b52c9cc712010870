"""The figures of a report, each drawn once and saved in two formats."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from pintag import plots
from pintag.document import Picture

FOLDER = "figures"
# Inches of a figure that a phone shows whole.
_NARROW = 6.5


@dataclass
class Sketchbook:
    """Files of figures, by their paths below the report's folder."""

    files: dict[str, bytes] = field(default_factory=dict)

    def picture(self, name: str, figure: Figure, alt: str, caption: str = "") -> Picture:
        """Keep a figure as PNG and SVG; its name must be new."""
        path = f"{FOLDER}/{name}"
        if f"{path}.png" in self.files:
            raise ValueError(f"two figures of the name {name!r}")
        self.files[f"{path}.png"] = plots.saved(figure, "png")
        self.files[f"{path}.svg"] = plots.saved(figure, "svg")
        return Picture(
            f"{path}.png",
            self.files[f"{path}.svg"],
            "image/svg+xml",
            alt,
            caption,
            is_wide=figure.get_figwidth() > _NARROW,
        )


def slug(name: str) -> str:
    """What of a name a file's name and a link can have."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:40] or "x"
