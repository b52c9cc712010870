"""MkDocs hook: add the generated reference pages and the documents of the repository's root.

The hook writes nothing into docs/. The pages exist only in the built site, so they are always
current.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cli_reference
import http_reference
import metrics_reference
import modules_reference
import settings_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_GENERATED = {
    "reference/command-line.md": cli_reference.page,
    "reference/settings.md": settings_reference.page,
    "reference/http-api.md": http_reference.page,
    "reference/metrics.md": metrics_reference.page,
    "reference/modules.md": modules_reference.page,
}
_ROOT_DOCUMENTS = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every decision and every record of the benchmarks in the navigation."""
    docs = Path(config.docs_dir)
    records = sorted((docs / "benchmarks").glob("*.md"), reverse=True)
    _fill(config.nav, "Records of the benchmarks", [f"benchmarks/{path.name}" for path in records])
    decisions = sorted((docs / "decisions").glob("*.md"))
    _fill(config.nav, "Decisions", [f"decisions/{path.name}" for path in decisions])
    return config


def _fill(nav: Any, title: str, pages: list[str]) -> None:
    """Put pages into the section with that title, at any depth."""
    for section in nav:
        if isinstance(section, dict):
            for name, children in section.items():
                if name == title:
                    section[name] = pages
                elif isinstance(children, list):
                    _fill(children, title, pages)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of docs/ and the generated pages."""
    root = Path(config.config_file_path).parent
    for path, page in _GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    for path, name in _ROOT_DOCUMENTS.items():
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=relative_to_docs(text)))
    return files


def relative_to_docs(text: str) -> str:
    """Change links that are relative to the repository's root into links relative to docs/."""
    text = text.replace("](docs/", "](")
    for path, name in _ROOT_DOCUMENTS.items():
        text = text.replace(f"]({name}", f"]({path}")
    return re.sub(r"\]\(README\.md", "](index.md", text)
