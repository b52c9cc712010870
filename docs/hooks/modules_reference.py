"""The modules page: every module of the code with the first sentence of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_FOLDERS = ("pintag", "serve", "train", "bulk", "benchmarks")
_INTRODUCTION = """# Modules

This page lists the packages of the code and their modules. It is generated from the modules'
docstrings.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION]
    for name in _FOLDERS:
        for package in _packages(_ROOT / name):
            parts += _table(package)
    return "\n".join(parts)


def _packages(folder: Path) -> Iterator[Path]:
    """The folder and the packages in it, without symbolic links to other folders."""
    yield folder
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink() and (child / "__init__.py").exists():
            yield from _packages(child)


def _table(package: Path) -> Iterator[str]:
    yield f"## {package.relative_to(_ROOT)}\n"
    if introduction := _summary(package / "__init__.py"):
        yield f"{introduction}\n"
    yield "| module | |\n| --- | --- |"
    for path in sorted(package.glob("*.py")):
        if not path.name.startswith("__"):
            yield f"| `{path.name}` | {_summary(path)} |"
    yield ""


def _summary(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    if not path.exists():
        return ""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", r"\|")
