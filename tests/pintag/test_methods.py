"""How figures were made: with the sources, and the study as it was asked for."""

from __future__ import annotations

import yaml

from pintag import document, methods
from pintag.document import Code, Document


def test_sources_of_the_statistics_are_named() -> None:
    text = document.markdown(Document("", tuple(methods.chapter({}))))
    for source in ("Wilson", "Efron", "McNemar", "Guo", "never by the test split"):
        assert source in text
    assert "as it was asked for" not in text


def test_a_request_can_be_read_back() -> None:
    config = {"seed": 0, "title": "Größe: <b>", "grid": {"batch_size": [16, 32], "rates": {}}}
    (code,) = (each for each in methods.chapter(config) if isinstance(each, Code))
    assert yaml.safe_load(code.text) == config
    assert list(yaml.safe_load(code.text)) == list(config)
    page = document.html(Document("", (code,)))
    assert "Größe: &lt;b&gt;" in page
    lines = document.markdown(Document("", (code,))).splitlines()
    assert "      - 16" in lines
