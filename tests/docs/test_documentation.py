"""The documents agree with the code and with each other."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT
from tests.keys import keys

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of docs/hooks can be imported, as MkDocs imports them."""
    monkeypatch.syspath_prepend(DOCS / "hooks")


def test_the_readme_has_at_most_700_words() -> None:
    assert len(README.split()) <= 700


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_link_between_documents_leads_to_a_file(name: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_benchmark_table_of_the_readme_has_the_figures_of_the_newest_record() -> None:
    newest = max((DOCS / "benchmarks").glob("*.json"))
    assert f"docs/benchmarks/{newest.stem}.md" in README
    servers = json.loads(newest.read_text())["servers"]["found"]["servers"]
    for name, by_connections in servers.items():
        row = by_connections["64"]
        expected = (
            f"| {name} | {row['requests_per_second']:.0f} | {row['of_bare']:.0%} "
            f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} |"
        )
        assert expected in README


def test_the_settings_page_has_every_key(hooks: None) -> None:
    import settings_reference

    from pintag.serve.config import ServeConfig
    from pintag.train.config import TrainConfig

    page = settings_reference.page()
    for key in [*keys(ServeConfig), *keys(TrainConfig)]:
        assert f"| `{key}` |" in page
    assert "| `http.port` | `integer, >= 1, <= 65535` | `8000` |" in page
    types = set(re.findall(r"^\| `\S+` \| `([^`]*)`", page, re.M))
    assert {"list of text", "path or null", "true or false or auto"} <= types
    # No type is Python's.
    assert not re.search(r"tuple|dict|\bstr\b|\bint\b|\bfloat\b|Path|\.\.\.", " ".join(types))
    assert "| `grid.batch_size` |" not in page
    assert "| `models[].grid.batch_size` |" in page


def test_every_setting_has_a_description(hooks: None) -> None:
    import settings_reference

    rows = re.findall(r"^\| `.*\|$", settings_reference.page(), re.M)
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def test_a_row_has_the_docstring_of_its_setting(hooks: None) -> None:
    import settings_reference

    from pintag.models.optimize import OptimizeConfig

    docstrings = settings_reference._docstrings(OptimizeConfig)
    rows = "\n".join(settings_reference._tables(OptimizeConfig))
    for name in OptimizeConfig.model_fields:
        assert " ".join(docstrings[name].split()) in rows


def test_the_http_page_has_answers_and_statuses_in_order(hooks: None) -> None:
    import http_reference

    page = http_reference.page()
    assert "Successful Response" not in page
    operations = page.split("\n## ")[1:5]
    for operation in operations:
        statuses = re.findall(r"^\| (\d{3}) \|", operation, re.M)
        assert statuses == sorted(statuses)
        assert "200" in statuses
    answers = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.S)]
    assert {"model", "tags"} <= answers[0].keys()
    assert answers[-1]["kind"] == "not_an_image"
    assert "405" in page
    assert "404" in page


def test_the_command_line_page_has_the_help_of_every_command(hooks: None) -> None:
    import cli_reference

    page = cli_reference.page()
    commands = ("pintag train", "pintag data check", "pintag models use", "pintag models rollback")
    for command in commands:
        assert f"## {command}\n" in page
        assert f"Usage: {command} [OPTIONS]" in page


def test_the_modules_page_describes_every_module(hooks: None) -> None:
    import modules_reference

    page = modules_reference.page()
    assert "| `bundle.py` | " in page
    assert re.findall(r"^\| `.*\.py` \|  \|$", page, re.M) == []


def test_links_of_the_root_documents_are_right_in_the_site(hooks: None) -> None:
    import site_pages

    text = (
        "[a](docs/decisions/0021-packages.md) [b](CHANGELOG.md) [c](README.md) [d](https://x.org)"
    )
    assert site_pages.relative_to_docs(text) == (
        "[a](decisions/0021-packages.md) [b](changelog.md) [c](index.md) [d](https://x.org)"
    )


@pytest.mark.ray
def test_the_guide_to_monitoring_names_every_metric_that_is_declared(hooks: None) -> None:
    import metrics_reference

    declared = {metric.name for metric in metrics_reference.declared()}
    named = set(re.findall(r"ray_pintag_\w+", (DOCS / "how-to/monitor.md").read_text()))
    # The queries name series of histograms.
    assert {re.sub("_(bucket|count)$", "", name) for name in named} == declared


@pytest.mark.ray
def test_the_metrics_page_has_types_and_labels(hooks: None) -> None:
    import metrics_reference

    metrics = {metric.name: metric for metric in metrics_reference.declared()}
    assert metrics["ray_pintag_tags_total"].labels == ("label",)
    assert metrics["ray_pintag_tags_total"].kind == "counter"
    assert metrics["ray_pintag_total_seconds"].kind == "histogram"
    assert metrics["ray_pintag_model_info"].labels == ("name", "version", "engine", "precision")
    assert all(metric.help for metric in metrics.values())


@pytest.mark.ray
def test_the_api_page_has_every_operation(hooks: None) -> None:
    import http_reference

    page = http_reference.page()
    for operation in ("POST /v1/tags", "POST /v1/tags:batch", "POST /v1/explanations"):
        assert f"## `{operation}`" in page
    assert "| 503 | The queue is full" in page
