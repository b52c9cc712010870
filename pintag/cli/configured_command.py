"""A command with a configuration: its help lists every key."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from pintag.core import config


class ConfiguredCommand(click.Command):
    """A command whose help ends with the keys of its configuration and their defaults."""

    def __init__(self, *arguments: Any, configuration: str, **options: Any) -> None:
        """Import nothing yet, so that the help of other commands is quick.

        Args:
            configuration: the module and the name of the class, such as `package.module:Class`.
        """
        super().__init__(*arguments, **options)
        self._configuration = configuration

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the keys."""
        module, _, name = self._configuration.partition(":")
        model: type[config.Strict] = getattr(import_module(module), name)
        with formatter.section("All keys and their defaults"):
            for key, default in config.keys(model):
                formatter.write(f"{'':{formatter.current_indent}}{key}={default}\n")
        formatter.write_paragraph()
        formatter.write_text("The page Settings of the documentation describes each key.")
