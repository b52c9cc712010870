"""A cluster without room for all replicas is reported: Ray would wait in silence."""

from __future__ import annotations

import contextlib

import pytest

from pintag.core import config
from pintag.serve.auth import access
from pintag.serve.config import ServeConfig
from pintag.serve.lifecycle import served_bundle, server
from pintag.serve.lifecycle.applications import Applications
from pintag.serve.nodes import capacity
from tests.conftest import CONFIGS

CLUSTER = config.load(ServeConfig, CONFIGS / "serve/cluster.yaml", ())


@pytest.mark.parametrize("nodes", [[4], [3, 2], [1, 1, 4], [8, 1]])
def test_there_is_room_if_each_replica_finds_a_node(nodes: list[int]) -> None:
    assert capacity.shortage(CLUSTER, [{"CPU": size} for size in nodes]) is None


@pytest.mark.parametrize(
    ("nodes", "have"),
    [
        ([], "0"),
        ([2], "2 (1 x 2)"),
        # Enough in all, but the explainer needs two processors of one node.
        ([1, 1, 1, 1], "4 (4 x 1)"),
        # The classifier's replicas are spread: they leave one on each node.
        ([2, 2], "4 (2 x 2)"),
    ],
)
def test_a_shortage_has_both_numbers(nodes: list[int], have: str) -> None:
    assert capacity.shortage(CLUSTER, [{"CPU": size} for size in nodes]) == (
        f"the replicas need 4 (2 x 1, 1 x 2) processors, the nodes have {have}"
    )


def test_gpus_and_custom_resources_count_and_a_candidate_needs_room_too() -> None:
    overrides = [
        "explainer.enabled=false",
        "candidate.bundle=/models/new",
        "classifier.num_gpus=0.5",
        "classifier.resources={fast: 1}",
    ]
    settings = config.load(ServeConfig, None, overrides)
    node = {"CPU": 3.0, "GPU": 1.5, "fast": 3.0}
    assert capacity.shortage(settings, [node]) is None
    assert "1.5 (3 x 0.5) GPUs, the nodes have 1 (1 x 1)" in str(
        capacity.shortage(settings, [node | {"GPU": 1}])
    )
    assert "3 (3 x 1) fast, the nodes have 0" in str(capacity.shortage(settings, [{"CPU": 9}]))


def test_a_server_says_why_it_waits_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    nodes = [
        {"Alive": True, "Resources": {"CPU": 2.0}},
        {"Alive": False, "Resources": {"CPU": 8.0}},
    ]

    def deployed(*_: object) -> None:
        printed.append("deployed")
        raise KeyboardInterrupt

    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setattr(access, "check", lambda _: None)
    monkeypatch.setattr(served_bundle, "checked", lambda *_: None)
    monkeypatch.setattr(server, "_set_variables", lambda _: None)
    monkeypatch.setattr(server, "_connected", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(Applications, "deploy", deployed)
    with pytest.raises(KeyboardInterrupt):
        server.run(CLUSTER, "bundle", lambda *_: None, printed.append)
    assert printed == [
        "replicas may wait for a node: the replicas need 4 (2 x 1, 1 x 2) processors, the nodes "
        f"have 2 (1 x 2); {capacity.REMEDY}",
        "deployed",
    ]
