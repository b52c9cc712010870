"""The `pintag` command: the one place that may import the library, training and serving.

Subcommands import what they need when they run, so that `--help` is quick.
"""

from pintag.cli.main import main

__all__ = ["main"]
