"""`pintag serve`: the server, in the foreground."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pintag import config
from pintag.cli import console
from pintag.store import absolute

if TYPE_CHECKING:
    from serve.config import ServeConfig


@click.command()
@click.option(
    "--bundle",
    "place",
    required=True,
    help="A bundle, or a registry of them (`pintag models`), whose current version serves; "
    "s3://… and gs://… included.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Roll out each version that becomes the registry's current one; no request is dropped.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="A YAML file such as configs/serve/local.yaml; by default its values.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The same as http.port=PORT.")
@click.option(
    "--serve-config",
    "printed",
    flag_value="serve_config",
    help="Print it as `serve deploy` and KubeRay's serveConfigV2 take it, and end.",
)
@click.option(
    "--environment",
    "printed",
    flag_value="environment",
    help="Print what a shell on every node exports before `ray start`, and end.",
)
@click.option(
    "--prometheus",
    "printed",
    flag_value="prometheus",
    help="Print a scrape configuration for Prometheus, and end.",
)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def serve(
    place: str,
    follow: bool,
    config_path: Path | None,
    port: int | None,
    printed: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Serve BUNDLE over HTTP until Ctrl-C.

    Every key of the configuration can be overridden: http.haproxy=false, metrics.port=9090,
    classifier.max_batch_size=16, explainer.enabled=false. With RAY_ADDRESS set the server runs on
    that cluster.
    """
    from serve.config import ServeConfig

    if port is not None:
        overrides = (*overrides, f"http.port={port}")
    settings = config.load(ServeConfig, config_path, overrides)
    if printed:
        _print(printed, settings, place)
        return

    def ready(url: str) -> None:
        console.out.print(f"page     {url}/", highlight=False)
        console.out.print(f"tags     POST {url}/v1/tags", highlight=False)
        if settings.explainer.enabled:
            console.out.print(f"why      POST {url}/v1/explanations", highlight=False)
        console.out.print(f"model    {url}/v1/model", highlight=False)
        console.out.print(f"docs     {url}/docs", highlight=False)
        console.out.print(
            f"metrics  http://{settings.http.host}:{settings.metrics.port}/metrics", highlight=False
        )
        if settings.access.everybody:
            console.err.print("[bold]access.everybody: whoever reaches the server may ask[/bold]")
        console.out.print("Ctrl-C stops the server.")

    from serve import server

    console.err.print("starting …")
    tell = functools.partial(console.err.print, highlight=False)
    server.run(settings, place, ready, tell, follow=follow)
    console.err.print("stopped")


def _print(what: str, settings: ServeConfig, place: str) -> None:
    from serve import declaration

    texts = {
        "serve_config": lambda: declaration.serve_config(settings, absolute(place)),
        "environment": lambda: declaration.environment(settings),
        "prometheus": lambda: declaration.prometheus(settings),
    }
    click.echo(texts[what](), nl=False)
