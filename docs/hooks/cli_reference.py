"""The command line page: what `--help` prints for every command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from pintag.cli.commands import command

_INTRODUCTION = """# Command line

The command `pintag` is in `.venv/bin`. After `. .venv/bin/activate` the shell finds it.
`python -m pintag` is the same command. With `--json` a command prints JSON for programs. Exit
codes: 0 success; 1 failure, such as a wrong configuration; 2 wrong arguments. This page is
generated from the code.
"""
_WIDTH = 80


def page() -> str:
    """The page as Markdown."""
    return "\n".join([_INTRODUCTION, *_help_texts(command, "pintag", None)])


def _help_texts(each: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    """A section for the command, then those of its subcommands."""
    # With its settings: click keeps the help option of the first context that a command meets.
    context = click.Context(
        each, parent, info_name=name, terminal_width=_WIDTH, **each.context_settings
    )
    yield f"## {context.command_path}\n"
    yield f"```text\n{click.unstyle(each.get_help(context)).rstrip()}\n```\n"
    if isinstance(each, click.Group):
        for child in each.list_commands(context):
            subcommand = each.get_command(context, child)
            if subcommand is not None and not subcommand.hidden:
                yield from _help_texts(subcommand, child, context)
