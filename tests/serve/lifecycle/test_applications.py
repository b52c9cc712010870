"""The applications on Ray: a candidate that is rolled out is not a candidate any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pintag.core.errors import ServerError
from pintag.serve.config import ServeConfig
from pintag.serve.deployment_config import CandidateConfig
from pintag.serve.lifecycle.applications import Applications
from tests.pintag import bundles

pytestmark = pytest.mark.ray


class FakeServe:
    """Records what is deployed and deleted, instead of Ray Serve."""

    def __init__(self) -> None:
        self.deployed: list[list[str]] = []
        self.deleted: list[str] = []
        self.candidates: list[str | None] = []
        """The candidate that each deployment of the classifier calls."""
        self.error: Exception | None = None

    def run_many(self, targets: list[Any]) -> None:
        if self.error:
            raise self.error
        self.deployed.append([target.name for target in targets])
        for target in targets:
            if target.name == "classifier":
                arguments = target.target._bound_deployment.init_args
                self.candidates.append(arguments[4]["bundle"])

    def delete(self, name: str) -> None:
        self.deleted.append(name)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    from ray import serve

    fake = FakeServe()
    monkeypatch.setattr(serve, "run_many", fake.run_many)
    monkeypatch.setattr(serve, "delete", fake.delete)
    return fake


@pytest.fixture
def old(tmp_path: Path) -> str:
    return str(bundles.write(tmp_path / "old", "old"))


@pytest.fixture
def new(tmp_path: Path) -> str:
    return str(bundles.write(tmp_path / "newer", "newer"))


def config(candidate: str | None) -> ServeConfig:
    return ServeConfig(candidate=CandidateConfig(bundle=candidate, shadow=0.5))


def test_a_candidate_that_is_rolled_out_ends(fake: FakeServe, old: str, new: str) -> None:
    messages: list[str] = []
    applications = Applications(config(new), messages.append)
    applications.deploy(old)
    assert (fake.candidates, fake.deleted) == ([new], [])
    applications.deploy(new)
    applications.deploy(old)
    assert fake.candidates == [new, None, None]
    assert fake.deleted == ["candidate"]
    assert messages == ["newer is not a candidate any more: it is served now"]
    assert fake.deployed == [["classifier", "explainer"]] * 3


def test_a_candidate_stays_when_its_roll_out_fails(fake: FakeServe, old: str, new: str) -> None:
    applications = Applications(config(new), pytest.fail)
    # Ray Serve raises many kinds of errors.
    for fake.error in (RuntimeError("busy"), TimeoutError("busy"), ValueError("busy")):
        with pytest.raises(ServerError, match="the server does not start: busy"):
            applications.deploy(new)
    fake.error = None
    applications.deploy(old)
    assert (fake.candidates, fake.deleted) == ([new], [])


def test_an_error_of_ray_serve_with_many_lines_becomes_one(
    fake: FakeServe, old: str, new: str
) -> None:
    messages: list[str] = []
    applications = Applications(config(new), messages.append)
    fake.error = RuntimeError("Deploying failed:\n\x1b[36mray::ServeReplica()\x1b[39m\n  File x")
    with pytest.raises(ServerError) as raised:
        applications.deploy(old)
    applications.start_candidate(old)
    for text in (str(raised.value), *messages):
        assert "Deploying failed; Ray's logs name the cause" in text
        assert "\n" not in text
    assert len(messages) == 1


def test_no_error_of_a_candidate_reaches_the_server(fake: FakeServe, old: str, new: str) -> None:
    messages: list[str] = []
    fake.error = KeyError("the controller")
    Applications(config(new), messages.append).start_candidate(old)
    assert messages == [
        "the candidate gets no requests, the server runs without it: 'the controller'"
    ]
