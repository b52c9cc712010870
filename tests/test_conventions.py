"""The conventions of CONTRIBUTING.md: sizes, names that mean one thing, and plain words."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("pintag", "serve", "train", "bulk")
TOOLS = ("benchmarks", "scripts", "docs", "tests")
MODULE_LINES, TEST_LINES, FUNCTION_LINES = 350, 400, 40
# Words of a private language that this project once had; decision 22 has the usual term for each.
WORDS = re.compile(
    r"\b(lanes?|told|tells|said|asked|sketchbook|portrait|exhibits|neighbours|declaration|on trial|"
    r"nobody's|whoever|wanted|of late|grants?|tell|telling|speaks?|the way in|rooms|hence)\b",
    re.IGNORECASE,
)
# Some words are names in configurations and files of release 0.1, which are still read.
ABOUT_WORDS = {
    "CHANGELOG.md",
    "docs/decisions/0022-names.md",
    "serve/config.py",
    "serve/deployment_config.py",
    "tests/serve/test_renamed_keys.py",
    "tests/test_conventions.py",
    "tests/train/study/test_version_0_1.py",
    "train/study/trial_results.py",
}


def modules(*folders: str) -> Iterator[Path]:
    """The Python files below some folders; links of pintag/ lead to folders that are named too."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path


def texts() -> Iterator[Path]:
    """Every file that people read: code, pages, settings and documents."""
    yield from modules(*PACKAGES, *TOOLS)
    for pattern in (
        "docs/**/*.md",
        "configs/**/*.yaml",
        "k8s/**/*.yaml",
        "serve/api/page/*",
        "*.md",
        "Makefile",
        "Dockerfile",
        "pyproject.toml",
        "k8s/**/*.tpl",
        "pintag/**/*.html",
        "pintag/**/*.jinja",
        "serve/**/*.lua",
        "scripts/*.sh",
        "serve/**/*.sh",
        "k8s/**/NOTES.txt",
    ):
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def longer_than(limit: int, *folders: str) -> list[str]:
    """The files of more than `limit` lines, with their lengths."""
    counts = {path: path.read_text(encoding="utf-8").count("\n") for path in modules(*folders)}
    return [f"{name(path)}: {count} lines" for path, count in counts.items() if count > limit]


def test_no_module_is_long() -> None:
    assert not (bad := longer_than(MODULE_LINES, *PACKAGES, "benchmarks")), "\n".join(bad)


def test_no_file_of_tests_is_long() -> None:
    assert not (bad := longer_than(TEST_LINES, "tests")), "\n".join(bad)


def test_no_function_is_long() -> None:
    bad = []
    for path in modules(*PACKAGES, "benchmarks"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > FUNCTION_LINES:
                    bad.append(f"{name(path)}: {node.name} has {count} lines")
    assert not bad, "\n".join(bad)


def test_the_name_of_a_class_or_type_means_one_thing() -> None:
    places = defaultdict(list)
    for path in modules(*PACKAGES, "benchmarks", "scripts"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if type_name := _type_name(node):
                places[type_name].append(name(path))
    bad = [f"{each}: {', '.join(paths)}" for each, paths in places.items() if len(paths) > 1]
    assert not bad, "\n".join(bad)


def _type_name(node: ast.stmt) -> str:
    """The name of the class or type alias that a statement defines; empty if it defines none.

    A type variable means something only within its function or class.
    """
    match node:
        case ast.ClassDef(name=defined):
            return defined
        case ast.Assign(targets=[ast.Name(id=defined)], value=value):
            is_type = re.fullmatch("[A-Z].*[a-z].*", defined) and not _is_type_variable(value)
            return defined if is_type else ""
    return ""


def _is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"


def test_words_are_plain() -> None:
    found = {
        name(path): sorted({match[0].lower() for match in WORDS.finditer(text)})
        for path in texts()
        if name(path) not in ABOUT_WORDS
        and (text := path.read_text(encoding="utf-8", errors="replace"))
    }
    bad = [f"{path}: {', '.join(words)}" for path, words in found.items() if words]
    assert not bad, "\n".join(bad)


def test_pytest_xdist_groups_tests(request: pytest.FixtureRequest) -> None:
    """Without groups every worker would start every server; the group is then part of the id."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@tests/test_conventions.py")


def test_every_process_gives_the_tests_the_same_names(request: pytest.FixtureRequest) -> None:
    """An id with a time or an address in it keeps pytest-xdist from sharing the tests."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    here = {_without_group(item) for item in request.session.items}
    assert not here - set(done.stdout.splitlines())


def _without_group(item: pytest.Item) -> str:
    """The id of a test without the name of its group, which pytest-xdist appends."""
    group = item.get_closest_marker("xdist_group")
    assert group
    return item.nodeid.removesuffix(f"@{group.args[0]}")
