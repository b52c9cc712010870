"""The tests of a cluster, and what the plan of the work on Kubernetes says about tests."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

HARMFUL = {"load", "end", "on_node", "replace_head", "kill"}
FILES = sorted((ROOT / "tests/cluster").glob("test_*.py"))


def names(node: ast.AST) -> set[str]:
    """The names and attributes below a node."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} | {
        each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)
    }


def test_a_test_that_loads_or_ends_something_needs_a_disposable_cluster() -> None:
    bad = []
    for path in FILES:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        marks = [each for each in body if isinstance(each, ast.Assign)]
        if any("pytestmark" in names(each) and "disposable" in names(each) for each in marks):
            continue
        bad += [
            f"{path.name}: {each.name}"
            for each in body
            if isinstance(each, ast.FunctionDef)
            and each.name.startswith("test_")
            and HARMFUL & names(each)
            and not any("disposable" in names(mark) for mark in each.decorator_list)
        ]
    assert bad == []


def test_the_plan_names_tests_that_exist() -> None:
    plan = (ROOT / "docs/plans/kubernetes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", plan))
    assert len(named) > 15
    for path, name in named:
        file = ROOT / (path if "/" in path else f"tests/k8s/{path}")
        assert f"\ndef {name}(" in file.read_text(encoding="utf-8"), (path, name)
