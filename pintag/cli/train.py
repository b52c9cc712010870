"""`pintag train`: one experiment."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from pintag import config
from pintag.bundle import ModelBundle
from pintag.cli import console, sources


@click.command()
@click.argument("configuration", metavar="CONFIG", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", "data_dir", type=click.Path(path_type=Path), help="The data set's folder.")
@click.option("--out", type=click.Path(path_type=Path), help="The bundle to write.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run at --out.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at --out.")
@console.json_option
def train(
    configuration: Path,
    overrides: tuple[str, ...],
    data_dir: Path | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit the experiment in CONFIG, calibrate and evaluate it, and write a bundle.

    Every key of the configuration can be overridden:

    \b
      pintag train configs/train/mobilenet.yaml --data pins --out runs/pins
          backbone.alpha=0.25 head.batch_size=16 seed=3

    \b
    backbone.name          mobilenet, vgg16, resnet50, inception_v3, basic_cnn
    backbone.alpha         width of a MobileNet
    backbone.weights       imagenet, none, or the path of a Keras weights file
    input_size             the side of the square that images become, in pixels
    head.widths            Dense layers, such as [512,256,128,64]
    head.learning_rate, head.batch_size, head.epochs, head.early_stopping,
    head.dropout, head.label_smoothing, head.class_weights
    fine_tune.epochs       0: frozen backbone only
    fine_tune.learning_rate, fine_tune.batch_size, fine_tune.unfreeze
    scaling.num_workers, scaling.use_gpu, scaling.mixed_precision
    seed                   equal seeds, equal runs on one machine
    cache_dir              where features are kept between runs

    By default the data set is ./data and the bundle is written to ./runs/NAME. head.batch_size is
    the batch over all workers together. With RAY_ADDRESS set the workers run on that cluster.
    """
    from train.config import TrainConfig

    settings = config.load(TrainConfig, configuration, overrides)
    target = out or Path("runs") / (settings.name or configuration.stem)
    scanned = sources.data_set(data_dir, settings.seed)
    console.err.print(f"{len(scanned)} images, {len(scanned.labels)} labels; fitting on Ray …")
    # After what may be wrong with the request: this takes seconds.
    console.import_quietly("keras")
    from train.fit import fit

    try:
        # Keras tells of its downloads on standard output.
        with console.bars() as bars, contextlib.redirect_stdout(sys.stderr):
            made = fit(
                settings,
                scanned,
                target,
                resume=resume,
                overwrite=overwrite,
                watch=partial(_show, console.Stages(bars)),
            )
    except KeyboardInterrupt:
        console.err.print("interrupted; the same command with --resume goes on, if it had begun")
        sys.exit(1)
    if as_json:
        console.print_json({"bundle": str(made.path), **made.manifest.model_dump(mode="json")})
    else:
        _summarise(made)


def _show(stages: console.Stages, message: dict[str, Any]) -> None:
    """Move a bar by one message of `train.loop`."""
    if message["stage"] == "training":
        note = (
            f"loss {message['loss']:.3f}, validation {message['validation_loss']:.3f}, "
            f"{message['validation_accuracy']:.1%} right"
        )
        stages.move(message["phase"], message["epoch"], message["epochs"], note)
    else:
        stages.move(message["stage"], message["done"], message["total"])


def _summarise(made: ModelBundle) -> None:
    manifest = made.manifest
    shown = console.table("split", "images", "accuracy", "macro F1", "ECE")
    for split, figures in manifest.metrics.items():
        shown.add_row(
            split,
            str(figures["images"]),
            f"{figures['accuracy']:.2%}",
            f"{figures['macro_f1']:.3f}",
            f"{figures['ece']:.3f}",
        )
    console.out.print(shown)
    if manifest.data["synthetic"]:
        console.out.print("synthetic data: the figures say nothing about photographs")
    where = escape(str(made.path))
    console.out.print(f"bundle {where}, version {manifest.version}", soft_wrap=True)
    console.out.print(f"  pintag serve --bundle {where}", soft_wrap=True)
