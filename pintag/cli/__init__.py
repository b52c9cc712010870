"""The `pintag` command. It may import all other packages.

Subcommands import heavy libraries only when they run, so that `--help` is quick.
"""

import sys

from pintag.core import signals


def main() -> None:
    """Run the command, and exit with its code. Ctrl-C ends it at any moment, also in an import."""
    with signals.remembered_interrupt() as was_interrupted:
        try:
            # Here, and not above: these modules take most of a second to import.
            from pintag.cli.commands import run

            run()
        except KeyboardInterrupt:
            _end()
        except Exception:
            # A native module that is interrupted while it is imported raises an ImportError.
            if not was_interrupted():
                raise
            _end()


def _end() -> None:
    print("interrupted", file=sys.stderr)
    sys.exit(1)


__all__ = ["main"]
