"""`pintag serve`: run a server in the foreground, or print its configuration for other tools."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from pintag.cli import console
from pintag.cli.configured_command import ConfiguredCommand
from pintag.core import config
from pintag.core.errors import PintagError
from pintag.core.store import absolute

if TYPE_CHECKING:
    from pintag.serve.config import ServeConfig

Announce = Callable[[str, str], None]
"""Prints the name of a part of the server, and its address; without a name, a sentence."""


@click.command(
    short_help="Serve a model over HTTP.",
    cls=ConfiguredCommand,
    configuration="pintag.serve.config:ServeConfig",
)
@click.option(
    "--bundle",
    required=True,
    help="The folder or URI of a bundle, or of a registry (see `pintag models`), whose current "
    "version is served.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Roll out each new current version of the registry, without dropping a request.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="A YAML file such as configs/serve/local.yaml, which lists all defaults.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The same as http.port=PORT.")
@click.option(
    "--serve-config",
    "printed",
    flag_value="serve_config",
    help="Print the configuration for `serve deploy` and KubeRay's serveConfigV2, and exit.",
)
@click.option(
    "--environment",
    "printed",
    flag_value="environment",
    help="Print the variables to export on every node before `ray start`, and exit.",
)
@click.option(
    "--prometheus",
    "printed",
    flag_value="prometheus",
    help="Print a scrape configuration for Prometheus, and exit.",
)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def serve(
    bundle: str,
    follow: bool,
    config_path: Path | None,
    port: int | None,
    printed: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Serve a model over HTTP, with a web page for trying it, until Ctrl-C.

    \b
    Examples:
      pintag serve --bundle runs/pins
      pintag serve --bundle s3://bucket/models/pins --follow --port 80
      pintag serve --bundle runs/pins explainer.enabled=false metrics.port=9090

    KEY=VALUE overrides a key of the configuration. If RAY_ADDRESS is set, the server runs on that
    Ray cluster, otherwise on this machine.
    """
    from pintag.serve.config import ServeConfig

    if port is not None:
        overrides = (*overrides, f"http.port={port}")
    settings = config.load(ServeConfig, config_path, overrides)
    if printed:
        _print(printed, settings, bundle, follow=follow)
        return
    _run(settings, bundle, follow=follow)


def _run(settings: ServeConfig, bundle: str, *, follow: bool) -> None:
    from pintag.serve.lifecycle import server

    is_json = settings.log.format == "json"
    say = console.log_json if is_json else _say
    say("starting" if is_json else "starting …")
    ready = functools.partial(_print_urls, settings, _announce_json if is_json else _announce)
    if settings.access.allow_anonymous:
        say("access.allow_anonymous is true: everybody who can reach the server can use it")
    try:
        server.run(settings, bundle, ready, say, follow=follow)
    except PintagError as error:
        if not is_json:
            raise
        console.log_json(str(error), "ERROR")
        click.get_current_context().exit(1)
    say("stopped")


def _say(text: str) -> None:
    console.err.print(escape(text), soft_wrap=True)


def _announce(name: str, text: str) -> None:
    line = f"{name:8} {text}" if name else text
    console.out.print(escape(line), soft_wrap=True)


def _announce_json(name: str, text: str) -> None:
    console.log_json(f"{name}: {text}" if name else text)


def _print_urls(settings: ServeConfig, announce: Announce, url: str, logs: Path) -> None:
    """Announce where the server and its parts are, and how it ends."""
    from pintag.serve.ingress import installation
    from pintag.serve.nodes import addresses, ports

    host = addresses.shown(settings.http.host)
    ray, haproxy = ports.metrics(settings)
    announce("page", f"{url}/")
    announce("tags", f"POST {url}/v1/tags")
    if settings.explainer.enabled:
        announce("why", f"POST {url}/v1/explanations")
    announce("model", f"{url}/v1/model")
    announce("docs", f"{url}/docs")
    announce("metrics", f"{addresses.url(host, ray)}/metrics")
    if haproxy and settings.http.haproxy is not False and installation.has_haproxy():
        announce("HAProxy", f"{addresses.url(host, haproxy)}/metrics")
    if host != settings.http.host:
        announce("address", f"every address of this machine (http.host={settings.http.host})")
    announce("logs", str(logs))
    announce("", "Ctrl-C stops the server.")


def _print(what: str, settings: ServeConfig, bundle: str, *, follow: bool) -> None:
    from pintag.serve import export

    texts = {
        "serve_config": lambda: export.serve_config(settings, absolute(bundle), follow=follow),
        "environment": lambda: export.environment(settings),
        "prometheus": lambda: export.prometheus(settings),
    }
    click.echo(texts[what](), nl=False)
