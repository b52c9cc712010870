"""The text of a configuration is divided into sections and written again."""

from __future__ import annotations

import pytest

from pintag.serve.ingress.sections import ConfigSection, Configuration, MissingMarkerError
from tests.serve.ingress.conftest import Render

TEXT = """global
    maxconn 10

frontend http_frontend
  bind *:8000
backend http-classifier
    # Servers
    server SERVE_REPLICA_a 127.0.0.1:1 check
    server SERVE_PROXY_ACTOR-node 127.0.0.1:2 check backup
"""


def test_only_empty_lines_and_indentation_change(render: Render) -> None:
    text = render({"classifier": "/"}).read_text()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    written = str(Configuration(text))
    assert [line.strip() for line in written.splitlines()] == lines
    assert str(Configuration(written)) == written


def test_a_section_is_found_by_its_title() -> None:
    configuration = Configuration(TEXT)
    assert configuration.section("global").lines == ["maxconn 10"]
    assert configuration.find("frontend") is None
    with pytest.raises(MissingMarkerError, match=r"^no section `defaults`$"):
        configuration.section("defaults")


def test_the_backends_of_applications_have_replicas() -> None:
    configuration = Configuration(TEXT)
    assert [*configuration.applications()] == ["http-classifier"]
    assert configuration.applications()["http-classifier"].replicas == ["SERVE_REPLICA_a"]
    assert configuration.section("global").replicas == []


def test_lines_are_inserted_after_a_line() -> None:
    section = ConfigSection("defaults", ["a", "b"])
    section.insert("a", ["c", "d"])
    assert section.lines == ["a", "c", "d", "b"]
    with pytest.raises(MissingMarkerError, match=r"^no line `e` below `defaults`$"):
        section.insert("e", ["f"])


def test_lines_that_match_whole_are_replaced_and_counted() -> None:
    section = ConfigSection("defaults", ["a 1", "b", "a 2", "an a 3"])
    assert section.replace(r"a (\d)", lambda found: [f"c {found[1]}", "d"]) == 2
    assert section.lines == ["c 1", "d", "b", "c 2", "d", "an a 3"]
    assert section.replace("b", lambda _: []) == 1
    assert "b" not in section.lines
