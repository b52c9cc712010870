"""`pintag explain --pick`: the images that show most of what a model goes by, as a page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from pintag import files, gallery, overlay
from pintag.cli import console, sources
from pintag.cli.explainers import Local
from pintag.cli.sources import Source
from pintag.errors import DataError, ExplainError, ImageError
from pintag.gallery import Subject
from pintag.pick import Pick, pick

PAGE, DATA = "index.html", "pick.json"


def run(
    local: Local, chosen: Sequence[Source], count: int, limit: int, out: Path, *, as_json: bool
) -> int:
    """Explain images, pick `count` of them, and write the page; how many could not be explained.

    Args:
        limit: explain so many at most, evenly spread over those chosen.

    Raises:
        DataError: none of them could be explained.
    """
    if len(chosen) > limit:
        console.err.print(f"{len(chosen)} images: explaining {limit} of them, evenly spread")
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, limit).round().astype(int)]
    folder = _common_folder([name for name, _ in chosen])
    subjects = _explained(local, chosen, folder)
    if not subjects:
        raise DataError("none of the images could be explained: there is nothing to pick from")
    picked = pick([each.explanation for each in subjects], count, local.predict)
    page = gallery.render(subjects, picked, local.labels, local.model)
    content = {"folder": folder, **_content(local, subjects, picked)}
    files.write_atomic(out / PAGE, page)
    files.write_atomic(out / DATA, json.dumps(content, indent=2) + "\n")
    for warning in _warnings(content, count):
        console.err.print(f"[yellow]warning:[/] {warning}", soft_wrap=True)
    if as_json:
        console.print_json(content)
    else:
        _tell(content, out)
    return len(chosen) - len(subjects)


def _warnings(content: dict[str, Any], count: int) -> Iterator[str]:
    if content["images"] < count:
        yield f"{count} images were to be picked: there are {content['images']}"
    if not content["features"]:
        yield "no superpixel speaks for the label of its image: the gallery shows nothing"


def _common_folder(names: Sequence[str]) -> str:
    """The folder that all lie in: where it is on this machine is nothing for a page."""
    try:
        return os.path.commonpath([os.path.dirname(name) for name in names])  # noqa: PTH120
    except ValueError:
        return ""


def _explained(local: Local, chosen: Sequence[Source], folder: str) -> list[Subject]:
    subjects = []
    with console.progress("explaining") as progress:
        for number, (name, read) in enumerate(chosen):

            def within(done: int, total: int, number: int = number) -> None:
                progress(number + done / total, len(chosen))

            try:
                data = read()
                [found] = local.explain(data, within)
                # Kept, as standard input cannot be read again, and a file may be gone by then.
                picture = gallery.jpeg(overlay.picture(data))
                subjects.append(Subject(os.path.relpath(name, folder or "."), found, picture))
            except (ImageError, ExplainError) as error:
                sources.failed(name, error)
            progress(number + 1, len(chosen))
    return subjects


def _content(local: Local, subjects: Sequence[Subject], picked: Pick) -> dict[str, Any]:
    """The pick as JSON: features by their place in a list, images by their names."""
    config = subjects[0].explanation.config
    names = gallery.titles(picked, local.labels)
    total = float(picked.importance.sum())
    return {
        "model": local.model,
        "mode": config.mode,
        "num_features": config.num_features,
        "segmentation": config.segmentation.algorithm,
        "images": len(subjects),
        "importance": total,
        "features": [
            {
                "name": name,
                "label": local.labels[feature.label],
                "importance": feature.importance,
                "images": feature.images,
                "segments": [
                    {
                        "image": subjects[member.explanation].name,
                        "segment": member.segment,
                        "weight": member.weight,
                    }
                    for member in feature.members
                ],
            }
            for name, feature in zip(names, picked.features, strict=True)
        ],
        "picks": [
            {
                "image": subjects[index].name,
                "label": local.labels[subjects[index].explanation.finding.label],
                "confidence": subjects[index].explanation.finding.confidence,
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


def _tell(content: dict[str, Any], out: Path) -> None:
    shown = console.table("image", "label", "confidence", "brings", "covered")
    for each in content["picks"]:
        shown.add_row(
            escape(each["image"]),
            escape(each["label"]),
            f"{each['confidence']:.1%}",
            str(len(each["brings"])),
            f"{each['share']:.1%}",
        )
    console.out.print(shown)
    console.out.print(
        f"{len(content['picks'])} of {content['images']} images,"
        f" {len(content['features'])} features"
    )
    for name in (PAGE, DATA):
        console.out.print(f"  {escape(str(out / name))}", soft_wrap=True)
