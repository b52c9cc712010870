"""Render a report as one HTML page and as Markdown, by the Jinja2 templates in `templates/`.

Both templates escape every value, so a name in a report is shown as text, whatever it contains.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pintag.core.text import valid
from pintag.report.view import Report, inlines


def html(report: Report) -> str:
    """One HTML page with its pictures inside and without scripts; it needs no other file."""
    return _environment(_printable).get_template("report.html.jinja").render(report=report)


def markdown(report: Report) -> str:
    """GitHub's Markdown, which refers to pictures by their paths."""
    text = _environment(_escaped).get_template("report.md.jinja").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment(finalize: Callable[[Any], Any]) -> Environment:
    """An environment that passes every value of a template through `finalize`.

    `autoescape` escapes everything for HTML that `finalize` does not return as `Markup`.
    """
    environment = Environment(
        loader=PackageLoader("pintag.report"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inlines": inlines, "url": _url, "indented": _indented, "bold": _bold}
    return environment


def _printable(value: Any) -> Any:
    """Text without surrogates. File names that are not UTF-8 have them, but UTF-8 cannot."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return valid(value)
    return value


def _escaped(value: Any) -> Markup:
    """Text in one line, with a backslash before each character that Markdown would interpret."""
    if isinstance(value, Markup):
        return value
    line = re.sub(r"[^\S\u00a0]+", " ", _printable(str(value)))
    line = re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", line)
    # Characters that start a heading, a rule or a list at the beginning of a line.
    line = re.sub(r"^( ?)([#+=-])", r"\1\\\2", line)
    line = re.sub(r"^( ?\d+)([.)](?:\s|$))", r"\1\\\2", line)
    return Markup(line)  # noqa: S704 - this is the escaping


def _bold(text: str) -> Markup:
    """Emphasised Markdown. Spaces at the ends stay outside of the stars, as Markdown requires."""
    inner = text.strip()
    before, _, after = text.partition(inner)
    return Markup(f"{before}**{_escaped(inner)}**{after}" if inner else text)  # noqa: S704


def _url(path: str) -> Markup:
    return Markup(quote(path))  # noqa: S704 - quoted, so nothing is left to escape


def _indented(text: str) -> Markup:
    """A code block of Markdown: indented, as no text can end such a block."""
    lines = _printable(text).splitlines()
    return Markup("\n".join(f"    {line}" for line in lines))  # noqa: S704 - code is literal
