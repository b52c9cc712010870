"""`pintag explain --pick`: a gallery of the images that show most of a model's evidence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pintag.cli import console, sources
from pintag.cli.console import escape
from pintag.cli.explainers import LocalExplainer
from pintag.cli.sources import Source
from pintag.core import files, formatting, text
from pintag.core.errors import DataError, ExplainError, ImageError
from pintag.explain import gallery, overlay
from pintag.explain.gallery_view import GalleryImage, feature_names
from pintag.explain.sp_lime import Feature, Pick, pick

PAGE, DATA = "index.html", "pick.json"


def run(
    local: LocalExplainer,
    chosen: Sequence[Source],
    count: int,
    limit: int,
    out: Path,
    *,
    as_json: bool,
) -> int:
    """Explain images, pick `count` of them, and write the gallery.

    Args:
        limit: maximum number of images to explain, spread evenly over all images.

    Returns:
        The number of images that could not be explained.

    Raises:
        DataError: no image could be explained.
    """
    chosen = _limited(chosen, limit)
    folder = _common_folder([name for name, _ in chosen])
    explained = _explain_all(local, chosen, folder)
    if not explained:
        raise DataError("no image could be explained, so none can be picked; see the errors above")
    picked = pick([image.explanation for image in explained], count, local.predict)
    page = gallery.render(explained, picked, local.labels, local.model)
    content = {"folder": folder, **_content(local, explained, picked)}
    files.write_atomic(out / PAGE, page)
    files.write_atomic(out / DATA, formatting.to_json(content) + "\n")
    console.warnings(_warnings(content, count))
    if as_json:
        console.print_json(content)
    else:
        _print(content, out)
    return len(chosen) - len(explained)


def _limited(chosen: Sequence[Source], limit: int) -> Sequence[Source]:
    """At most `limit` of the images, spread evenly."""
    if len(chosen) <= limit:
        return chosen
    console.err.print(f"{len(chosen)} images: explaining {limit} of them, evenly spread")
    return [chosen[i] for i in np.linspace(0, len(chosen) - 1, limit).round().astype(int)]


def _warnings(content: dict[str, Any], count: int) -> Iterator[str]:
    if content["images"] < count:
        yield f"--pick {count} is more than the number of explained images, {content['images']}"
    if not content["features"]:
        yield (
            "no superpixel is evidence for the label of its image, so the gallery shows no"
            " features; raise --num-samples, or choose another --segmentation"
        )


def _common_folder(names: Sequence[str]) -> str:
    """The folder that contains all images. The page shows names relative to it, so that it does
    not reveal this machine's folders."""
    try:
        return os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120
    except ValueError:
        return ""


def _explain_all(
    local: LocalExplainer, chosen: Sequence[Source], folder: str
) -> list[GalleryImage]:
    """Explain every image, and print an error for each one that fails."""
    explained = []
    with console.progress("explaining") as progress:
        for number, (name, read) in enumerate(chosen):

            def on_samples(done: int, total: int, number: int = number) -> None:
                progress(number + done / total, len(chosen))

            try:
                data = read()
                [explanation] = local.explain(data, on_samples)
                # Keep it, because standard input cannot be read again and a file may disappear.
                picture = overlay.jpeg(overlay.picture(data))
            except (ImageError, ExplainError) as error:
                sources.failed(name, error)
            else:
                relative = text.valid(os.path.relpath(name, folder or "."))
                explained.append(GalleryImage(relative, explanation, picture))
            progress(number + 1, len(chosen))
    return explained


def _content(
    local: LocalExplainer, explained: Sequence[GalleryImage], picked: Pick
) -> dict[str, Any]:
    """The content of pick.json. It refers to features and images by name."""
    config = explained[0].explanation.config
    names = feature_names(picked, local.labels)
    total = float(picked.importance.sum())
    return {
        "model": local.model.model_dump(),
        "mode": config.mode,
        "num_features": config.num_features,
        "segmentation": config.segmentation.algorithm,
        "images": len(explained),
        "importance": total,
        "features": [
            _feature(name, local.labels[feature.label], feature, explained)
            for name, feature in zip(names, picked.features, strict=True)
        ],
        "picks": [
            {
                "image": explained[index].name,
                "label": local.labels[explained[index].explanation.result.label],
                "confidence": explained[index].explanation.result.confidence,
                "coverage": coverage,
                "share": coverage / total if total else 0.0,
                "features": [names[j] for j in np.flatnonzero(picked.weights[index])],
                "brings": [names[j] for j in brings],
            }
            for index, coverage, brings in zip(
                picked.indices, picked.coverage, picked.brings, strict=True
            )
        ],
    }


def _feature(
    name: str, label: str, feature: Feature, explained: Sequence[GalleryImage]
) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "importance": feature.importance,
        "images": feature.images,
        "segments": [
            {
                "image": explained[member.explanation].name,
                "segment": member.segment,
                "weight": member.weight,
            }
            for member in feature.members
        ],
    }


def _print(content: dict[str, Any], out: Path) -> None:
    table = console.table("image", "label", "confidence", "new features", "covered")
    for entry in content["picks"]:
        table.add_row(
            escape(entry["image"]),
            escape(entry["label"]),
            f"{entry['confidence']:.1%}",
            str(len(entry["brings"])),
            f"{entry['share']:.1%}",
        )
    console.out.print(table)
    console.out.print(
        f"{len(content['picks'])} of {content['images']} images,"
        f" {len(content['features'])} features"
    )
    for name in (PAGE, DATA):
        console.out.print(f"  {escape(str(out / name))}", soft_wrap=True)
