"""Run the `pintag` command as `python -m pintag`."""

from pintag.cli import main

main()
