"""The `pintag` command. It may import all other packages.

Subcommands import heavy libraries only when they run, so that `--help` is quick.
"""

from pintag.cli.main import main

__all__ = ["main"]
