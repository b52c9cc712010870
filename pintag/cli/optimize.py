"""`pintag optimize`: OpenVINO models for a bundle."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click
from rich.markup import escape

from pintag import bundle, config
from pintag.bundle import ModelBundle
from pintag.cli import console, sources


@click.command()
@click.argument("bundle_dir", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path),
    help="What the bundle was fitted on.  [default: ./data]",
)
@click.option("--seed", default=0, show_default=True, help="Divides a data set without splits.")
@console.json_option
def optimize(
    bundle_dir: Path, overrides: tuple[str, ...], data_dir: Path | None, seed: int, as_json: bool
) -> None:
    """Add OpenVINO models to BUNDLE, fp32 and int8, which serve several times faster.

    int8 is calibrated on training images and kept only if it proves itself on the validation
    split; else the bundle says why, and fp32 serves. The bundle is replaced as a whole; its version
    changes.

    \b
    KEY=VALUE:
      max_drop=0.005          of accuracy, a share of the validation images
      min_agreement=0.98      images whose first label stays what it was
      calibration_images=300  training images
    """
    console.import_quietly("keras")
    from pintag.optimize import OptimizeConfig
    from pintag.optimize import optimize as optimized

    settings = config.load(OptimizeConfig, None, overrides)
    loaded = bundle.load(bundle_dir)
    data = sources.data_set(data_dir, seed)
    # NNCF draws its progress on standard output.
    with console.waiting() as told, contextlib.redirect_stdout(sys.stderr):
        made = optimized(loaded, data, settings, told)
    if as_json:
        console.print_json({"bundle": str(made.path), **made.manifest.model_dump(mode="json")})
    else:
        _summarise(made)


def _summarise(made: ModelBundle) -> None:
    shown = console.table("precision", "validation accuracy", "first label as before", "images")
    for precision, found in made.manifest.openvino.items():
        figures = (f"{found.accuracy:.2%}", f"{found.agreement:.2%}", str(found.images))
        shown.add_row(precision, *figures)
    console.out.print(shown)
    for precision, found in made.manifest.openvino.items():
        if found.refused:
            told = escape(f"{precision} is not in the bundle: {found.refused}")
            console.out.print(told, soft_wrap=True)
    where = escape(str(made.path))
    console.out.print(f"bundle {where}, version {made.manifest.version}", soft_wrap=True)
