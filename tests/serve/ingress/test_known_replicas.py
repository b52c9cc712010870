"""Replicas that run get requests, even while Ray leaves them out of HAProxy's configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pintag.serve.ingress import known_replicas
from pintag.serve.ingress.known_replicas import Replicas
from pintag.serve.ingress.sections import Configuration, MissingMarkerError
from tests.serve.ingress.conftest import Render

BOTH = {"classifier": "/", "explainer": "/v1/explanations"}


def keep(text: str, last: Replicas) -> tuple[str, Replicas]:
    """The configuration with the last known replicas, and those that are known now."""
    configuration = Configuration(text)
    known = known_replicas.keep(configuration, last)
    return str(configuration), known


def without_replicas(text: str, application: str) -> str:
    """What Ray writes while it builds an application: its own proxy is left."""
    return re.sub(rf"^ *server SERVE_REPLICA_{application}.*\n", "", text, flags=re.M)


def test_replicas_that_ray_leaves_out_are_kept_where_ray_had_put_them(render: Render) -> None:
    text = render(BOTH).read_text()
    _, known = keep(text, {})
    assert [len(replicas) for replicas in known.values()] == [2, 2]
    assert keep(without_replicas(text, "classifier"), known) == (str(Configuration(text)), known)


def test_replicas_that_ray_names_replace_the_known_ones(render: Render) -> None:
    text = render(BOTH).read_text()
    last = {"http-classifier": ["server SERVE_REPLICA_classifier-old 127.0.0.1:1 check"]}
    assert keep(text, last) == keep(text, {})


def test_an_application_that_has_been_removed_is_forgotten(render: Render) -> None:
    _, known = keep(render(BOTH).read_text(), {})
    assert sorted(known) == ["http-classifier", "http-explainer"]
    _, known = keep(render({"classifier": "/"}).read_text(), known)
    assert [*known] == ["http-classifier"]


def test_an_application_that_never_had_a_replica_has_none(render: Render) -> None:
    text = without_replicas(render(BOTH).read_text(), "explainer")
    kept, known = keep(text, {})
    assert (kept, known["http-explainer"]) == (str(Configuration(text)), [])


def test_a_backend_without_a_place_for_them_is_an_error() -> None:
    with pytest.raises(MissingMarkerError, match="no line `# Servers in this backend`"):
        keep("backend http-classifier\n", {"http-classifier": ["server a"]})


def test_they_are_those_of_one_cluster(tmp_path: Path) -> None:
    path, known = tmp_path / "replicas", {"http-classifier": ["server a"]}
    known_replicas.save(path, "own", known)
    assert known_replicas.load(path, "own") == known
    assert known_replicas.load(path, "other") == {}


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_without_a_sound_file_none_are_known(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "replicas"
    if content is not None:
        path.write_text(content)
    assert known_replicas.load(path, "own") == {}


def test_what_cannot_be_written_down_keeps_no_haproxy_from_starting(tmp_path: Path) -> None:
    known_replicas.save(tmp_path / "missing" / "replicas", "own", {})
    assert known_replicas.load(tmp_path / "missing" / "replicas", "own") == {}
