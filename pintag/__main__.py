"""`python -m pintag` is the `pintag` command."""

from pintag.cli import main

main()
