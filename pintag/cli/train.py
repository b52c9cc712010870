"""`pintag train`: train one model."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pintag.cli import console, sources
from pintag.cli.configured_command import ConfiguredCommand
from pintag.cli.console import escape
from pintag.core import config
from pintag.core.quiet import import_quietly
from pintag.models.bundle import ModelBundle
from pintag.models.bundle import load as load_bundle
from pintag.models.engines.tensorflow import has_gpu

if TYPE_CHECKING:
    from pintag.train.config import TrainConfig
    from pintag.train.fit.workspace import Workspace

_HELP = """Train the model that CONFIG describes, calibrate and evaluate it, and write a bundle.

\b
Examples:
  pintag train configs/train/sample.yaml --data demo/data --out demo/bundle
  pintag train configs/train/mobilenet.yaml --data pins --out runs/pins \\
      backbone.alpha=0.25 head.batch_size=16 seed=3

KEY=VALUE overrides a key of the configuration:

\b
backbone.name          mobilenet, vgg16, resnet50, inception_v3, basic_cnn,
                       basic_ann
backbone.alpha         the width multiplier of MobileNet
backbone.weights       imagenet, none (random), or the path of a Keras weights file
input_size             width and height of the input images in pixels
head.widths            units of the Dense layers, such as [512,256,128,64]
head.learning_rate, head.batch_size, head.epochs, head.early_stopping,
head.dropout, head.label_smoothing, head.class_weights
fine_tune.epochs       0 trains the head only
fine_tune.learning_rate, fine_tune.batch_size, fine_tune.unfreeze
scaling.num_workers, scaling.use_gpu, scaling.mixed_precision
seed                   equal seeds give equal models on one machine
cache_dir              the folder of cached features

head.batch_size is the number of images per step over all workers. If RAY_ADDRESS is set, the
workers run on that Ray cluster, otherwise on this machine.
"""


@click.command(
    help=_HELP,
    short_help="Train a model and write a bundle.",
    cls=ConfiguredCommand,
    configuration="pintag.train.config:TrainConfig",
)
@click.argument("configuration", metavar="CONFIG", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data", "data_dir", type=click.Path(path_type=Path), help="The data set.  [default: ./data]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The bundle to write.  [default: ./runs/NAME]"
)
@click.option("--resume", is_flag=True, help="Continue the run at --out, if one was begun.")
@click.option("--overwrite", is_flag=True, help="Replace the folder at --out.")
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
    from pintag.train.config import TrainConfig
    from pintag.train.fit.workspace import Workspace

    settings = config.load(TrainConfig, configuration, overrides)
    workspace = Workspace(out or Path("runs") / (settings.name or configuration.stem))
    if resume and workspace.is_complete:
        _report_complete(workspace.out, data_dir, as_json=as_json)
        return
    _check(workspace, resume=resume, overwrite=overwrite)
    scanned = sources.data_set(data_dir, settings.seed)
    console.err.print(f"{len(scanned)} images, {len(scanned.labels)} labels; training on Ray …")
    # Imported after the arguments are checked, because it takes seconds.
    import_quietly("keras")
    from pintag.train.fit.experiment import fit

    try:
        # Keras prints its downloads on standard output.
        with console.bars() as bars, contextlib.redirect_stdout(sys.stderr):
            bundle = fit(
                settings,
                scanned,
                workspace.out,
                resume=resume,
                overwrite=overwrite,
                on_progress=partial(_show, console.Stages(bars)),
            )
    except KeyboardInterrupt:
        _print_interrupted(can_resume=workspace.folder.exists())
        sys.exit(1)
    _warn(bundle, settings)
    _report(bundle, scanned.root, as_json=as_json)


def _check(workspace: Workspace, *, resume: bool, overwrite: bool) -> None:
    """Check the folder first, because reading the images takes seconds."""
    workspace.check(resume=resume, overwrite=overwrite)
    if resume and not workspace.is_begun:
        console.err.print("there is no run to resume: a new one begins")


def _report_complete(target: Path, data_dir: Path | None, *, as_json: bool) -> None:
    console.err.print(f"{escape(str(target))} is complete; --overwrite trains it again")
    _report(load_bundle(target), data_dir or Path("data"), as_json=as_json)


def _report(bundle: ModelBundle, data: Path, *, as_json: bool) -> None:
    if as_json:
        console.print_json({"bundle": str(bundle.path), **bundle.manifest.model_dump(mode="json")})
    else:
        _summarise(bundle, data)


def _warn(bundle: ModelBundle, settings: TrainConfig) -> None:
    from pintag.train.fit import fine_tuning

    history = json.loads((bundle.path / "history.json").read_bytes())
    if warning := fine_tuning.warning(history, settings):
        console.err.print(warning, soft_wrap=True)


def _print_interrupted(*, can_resume: bool) -> None:
    remedy = "; run the same command with --resume to continue training" if can_resume else ""
    console.err.print(f"interrupted{remedy}")


def _show(stages: console.Stages, message: dict[str, Any]) -> None:
    """Update a progress bar with a message of `pintag.train.fit.loop`."""
    if message["stage"] == "training":
        note = (
            f"loss {message['loss']:.3f}, validation {message['validation_loss']:.3f}, "
            f"accuracy {message['validation_accuracy']:.1%}"
        )
        stages.move(message["phase"], message["epoch"], message["epochs"], note)
    else:
        stages.move(message["stage"], message["done"], message["total"])


def _summarise(bundle: ModelBundle, data: Path) -> None:
    manifest = bundle.manifest
    table = console.table("split", "images", "accuracy", "macro F1", "ECE")
    for split, scores in manifest.metrics.items():
        table.add_row(
            split,
            str(scores["images"]),
            f"{scores['accuracy']:.2%}",
            f"{scores['macro_f1']:.3f}",
            f"{scores['ece']:.3f}",
        )
    console.out.print(table)
    if manifest.data["synthetic"]:
        console.out.print("synthetic data: the scores say nothing about photographs")
    path = escape(str(bundle.path))
    console.out.print(f"bundle {path}, version {manifest.version}", soft_wrap=True)
    for command in _next_commands(bundle, data):
        console.out.print(f"  {escape(command)}", soft_wrap=True)


def _next_commands(bundle: ModelBundle, data: Path) -> list[str]:
    """What to run next: on processors, OpenVINO is several times faster."""
    path = shlex.quote(str(bundle.path))
    serve = f"pintag serve --bundle {path}"
    if has_gpu():
        return [serve]
    # The seed divides a data set without split folders.
    seed = bundle.manifest.training["config"]["seed"] if bundle.manifest.data["divided"] else 0
    option = f" --seed {seed}" if seed else ""
    return [f"pintag optimize {path} --data {shlex.quote(str(data))}{option}", serve]
