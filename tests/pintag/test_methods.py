"""How figures were made: with the sources, and the study as it was asked for."""

from __future__ import annotations

from pintag import document, methods
from pintag.document import Document


def test_sources_of_the_statistics_are_named() -> None:
    text = document.markdown(Document("", tuple(methods.chapter({}))))
    for source in ("Wilson", "Efron", "McNemar", "Guo", "never on the test split"):
        assert source in text
    assert "as it was asked for" not in text


def test_a_request_is_told_by_dotted_keys() -> None:
    config = {"seed": 0, "grid": {"batch_size": [16, 32], "rates": {}}, "data": None}
    text = document.html(Document("", tuple(methods.chapter(config))))
    for key, value in (("seed", "0"), ("grid.batch_size", "[16, 32]"), ("data", "\u2013")):
        assert f">{key}</th>" in text
        assert f">{value}</td>" in text
