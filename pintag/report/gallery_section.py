"""The section with explanations of the winner's answers."""

from __future__ import annotations

from pathlib import Path

from pintag.core import formatting
from pintag.report.results import ExplainedImage, Results
from pintag.report.view import Block, ExplainedPicture, Gallery, Paragraph, Picture, Section

_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
_LEGEND = (
    ("supports", "Blue outline: supports the predicted label."),
    ("contradicts", "Orange outline: contradicts the predicted label."),
    ("uncertain", "Pale, with a dashed outline: the order of these parts is uncertain."),
    ("number", "Number: the rank of a part by its influence, and its weight."),
    ("other", "Dark and grey: has little influence."),
)
"""The colours, outlines and numbers of `pintag.explain.overlay`."""


def section(results: Results, folder: Path) -> Section:
    """Explained images, each beside its original, with a legend.

    Args:
        folder: the folder of the study, which has the pictures.
    """
    title, anchor = "Explanations of the winner's answers", "explained"
    if not results.explained:
        return Section(title, anchor, (Paragraph("No image was explained."),))
    blocks: list[Block] = [
        Paragraph(
            "LIME (Ribeiro, Singh and Guestrin, KDD 2016) finds the parts of an image with the most"
            " influence on the predicted label. Each original is shown beside its explanation."
        )
    ]
    pictures = [(image, _explained(image, folder)) for image in results.explained]
    if shown := tuple(picture for _, picture in pictures if picture):
        blocks.append(Gallery(_LEGEND, shown))
        if not all(picture.original for picture in shown):
            blocks.append(Paragraph("The study did not store all originals.", is_note=True))
    if missing := [image.picture for image, picture in pictures if picture is None]:
        blocks.append(Paragraph(f"These pictures were not found: {', '.join(missing)}."))
    return Section(title, anchor, tuple(blocks))


def _explained(image: ExplainedImage, folder: Path) -> ExplainedPicture | None:
    """The pictures of an image; None if its overlay is not a picture below the folder."""
    verdict = (
        "which is right" if image.label == image.predicted else f"the true label is {image.label}"
    )
    answer = f"{image.predicted} at {formatting.percent(image.confidence)}, {verdict}"
    overlay = _picture(folder, image.picture, f"{image.image} with outlined parts: {answer}.")
    if overlay is None:
        return None
    original = _picture(folder, image.original, image.image) if image.original else None
    return ExplainedPicture(original, overlay, f"{image.image}: {answer}.")


def _picture(folder: Path, name: str, alt: str) -> Picture | None:
    path = (folder / name).resolve()
    media_type = _MEDIA_TYPES.get(path.suffix.lower())
    if not (media_type and path.is_relative_to(folder.resolve()) and path.is_file()):
        return None
    return Picture(name, path.read_bytes(), media_type, alt)
