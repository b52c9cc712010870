"""An explanation of one image, with methods that draw, display and save it."""

from __future__ import annotations

import html
import os
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageShow

from pintag.core import files
from pintag.core.errors import PintagError
from pintag.core.types import Pixels
from pintag.data.labels import Labels
from pintag.explain import figure, overlay
from pintag.explain.explanation import Explanation
from pintag.explain.schema import ExplanationAnswer
from pintag.models.identity import Model


@dataclass(frozen=True)
class ImageExplanation:
    """The explanation of one label of one image. Jupyter displays it as a picture.

    Attributes:
        explanation: the superpixels and their weights.
        picture: the image, `uint8[H,W,3]`, scaled for viewing.
    """

    explanation: Explanation = field(repr=False)
    labels: Labels = field(repr=False)
    model: Model = field(repr=False)
    picture: Pixels = field(repr=False)

    def __repr__(self) -> str:
        return f"<ImageExplanation {self.label} {self.confidence:.1%}>"

    @property
    def label(self) -> str:
        """The label that is explained."""
        return self.labels[self.explanation.result.label]

    @property
    def confidence(self) -> float:
        """The model's probability of the label for this image, 0 to 1."""
        return self.explanation.result.confidence

    @property
    def summary(self) -> tuple[str, ...]:
        """Sentences about how reliable the explanation is."""
        summary = self._answer.summary
        return summary.claim, summary.fit

    def overlay(self) -> Pixels:
        """The most important superpixels drawn on the image: `uint8[H,W,3]`.

        Blue is evidence for the label, orange is evidence against it. Each superpixel has its rank
        and weight. In stable mode, those of an uncertain rank are pale with dashed outlines.
        """
        return self.explanation.overlay(picture=self.picture)

    def png(self) -> bytes:
        """`overlay` with a title and a legend, as a PNG file."""
        return overlay.png(self._figure)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `overlay` with a title and a legend as a PNG file.

        Raises:
            OSError: the file cannot be written.
        """
        files.write_atomic(Path(path), self.png())

    def show(self) -> None:
        """Display the picture: in the notebook, or else in the desktop's image viewer.

        Raises:
            PintagError: there is neither a notebook nor an image viewer.
        """
        display = _notebook_display()
        if display is not None:
            display(self)
            return
        if not ImageShow.show(Image.fromarray(self._figure), title=repr(self)):
            raise PintagError("there is no image viewer; write the picture with .save('why.png')")

    def to_json(self) -> Mapping[str, Any]:
        """The content of the JSON file of `pintag explain`.

        It has the weight of every superpixel, the fit of the linear model, and the duration.
        """
        return self._answer.model_dump()

    @property
    def _figure(self) -> Pixels:
        return figure.compose(self.overlay(), self._answer)

    @property
    def _answer(self) -> ExplanationAnswer:
        return self.explanation.to_answer(self.labels, self.model)

    def _repr_png_(self) -> bytes:
        return self.png()

    def _repr_html_(self) -> str:
        caption = [f"{self.label} {self.confidence:.1%}", *self.summary]
        lines = "<br>".join(html.escape(line) for line in caption)
        data = b64encode(self.png()).decode()
        alt = html.escape(f"Superpixels that are evidence for and against {self.label}", quote=True)
        return (
            f'<figure style="margin:0"><img alt="{alt}" src="data:image/png;base64,{data}">'
            f"<figcaption>{lines}</figcaption></figure>"
        )


def _notebook_display() -> Any:
    """IPython's `display` where this process is a notebook's kernel; otherwise None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return ipython.display.display if ipython and getattr(shell, "kernel", None) else None
