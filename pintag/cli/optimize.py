"""`pintag optimize`: add OpenVINO models to a bundle."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from pintag.cli import console, sources
from pintag.cli.console import escape
from pintag.core import config, formatting
from pintag.core.quiet import import_quietly
from pintag.models import bundle
from pintag.models.bundle import ModelBundle


@click.command(short_help="Add fast OpenVINO models to a bundle.")
@click.argument("bundle_dir", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path),
    help="The data set that the bundle was trained on.  [default: ./data]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=console.SEED,
    help="The seed that was used for training. It divides a data set that has no split folders.",
)
@console.json_option
def optimize(
    bundle_dir: Path, overrides: tuple[str, ...], data_dir: Path | None, seed: int, as_json: bool
) -> None:
    """Add OpenVINO models in fp32 and int8 to BUNDLE. On a CPU they are several times faster.

    int8 is calibrated on training images. It is kept if it is nearly as accurate as the original
    network on the validation split; otherwise the bundle records the reason and has fp32 only. The
    bundle is replaced atomically, and its version changes.

    \b
    Example:
      pintag optimize runs/pins --data pins max_drop=0.01

    \b
    KEY=VALUE:
      max_drop=0.005          largest loss of validation accuracy; 0.005 is 0.5 %
      min_agreement=0.98      smallest share of images with the original network's first label
      calibration_images=300  number of training images for calibration
    """
    import_quietly("keras")
    from pintag.models import optimize as optimization

    settings = config.load(optimization.OptimizeConfig, None, overrides)
    loaded = bundle.load(bundle_dir)
    data = sources.data_set(data_dir, seed)
    # NNCF prints its progress on standard output.
    with console.stage_printer() as on_stage, contextlib.redirect_stdout(sys.stderr):
        result = optimization.optimize(loaded, data, settings, on_stage)
    if as_json:
        console.print_json({"bundle": str(result.path), **result.manifest.model_dump(mode="json")})
    else:
        _summarise(result)


def _summarise(result: ModelBundle) -> None:
    same = "same first label as the original network"
    table = console.table("precision", "validation accuracy", same, "images")
    records = result.manifest.openvino
    for precision, record in records.items():
        shares = (record.accuracy, record.agreement)
        cells = (formatting.MISSING if share is None else f"{share:.2%}" for share in shares)
        name = f"{precision} (rejected)" if record.refused else precision
        table.add_row(name, *cells, str(record.images))
    console.out.print(table)
    for precision, record in records.items():
        if record.refused:
            console.out.print(f"{precision} is not in the bundle:")
            for reason in record.refused.split("; "):
                console.out.print(f"  {escape(reason)}", soft_wrap=True)
    path = escape(str(result.path))
    console.out.print(f"bundle {path}, version {result.manifest.version}", soft_wrap=True)
