"""The methods: sources of the statistics, and the configuration of the study."""

from __future__ import annotations

import yaml

from pintag.report import methods_section, rendering
from pintag.report.view import Code, Report


def test_the_sources_of_the_statistics_are_named() -> None:
    text = rendering.markdown(Report("", (methods_section.section({}),)))
    for source in ("Wilson", "Efron", "McNemar", "Guo", "Nothing is chosen by the test split"):
        assert source in text
    assert "The configuration of the study" not in text


def test_the_configuration_can_be_parsed_again() -> None:
    config = {"seed": 0, "title": "Größe: <b>", "grid": {"batch_size": [16, 32], "rates": {}}}
    section = methods_section.section(config)
    (code,) = (block for block in section.blocks if isinstance(block, Code))
    assert yaml.safe_load(code.text) == config
    assert list(yaml.safe_load(code.text)) == list(config)
    report = Report("", (section,))
    assert "Größe: &lt;b&gt;" in rendering.html(report)
    assert "      - 16" in rendering.markdown(report).splitlines()
