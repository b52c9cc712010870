"""A registry is followed: new versions are deployed, bad ones are refused or rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from pintag.core.errors import BundleError, DataError, ServerError
from pintag.core.store import last_name
from pintag.models.manifest import MANIFEST
from pintag.models.registry import CURRENT, REFUSED, Registry
from pintag.serve.lifecycle import rollout
from tests.pintag import bundles


class EndedError(Exception):
    """Ends the loop of `follow`."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry of bundles that are not loaded."""
    for name in ("one", "two", "damaged", "failing", "unreachable"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).touch()
    (tmp_path / CURRENT).write_text("one")
    return tmp_path


class Server:
    """Follows a registry for some seconds: what it deploys, and what it prints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deployed: list[str] = []
        self.messages: list[str] = []
        self.errors: dict[str, list[Exception]] = {}
        """The errors that the next deployments of a version raise."""
        self.damaged = {"damaged"}
        self.failures_left = 2
        self.now = 0.0

    def follow(self, *seconds: str, serving: str = "one") -> None:
        """Follow the registry; each second has the new content of `current`, or "" for none."""
        steps: Iterator[str] = iter(seconds)

        def pause(length: float) -> None:
            self.now += length
            content = next(steps, None)
            if content is None:
                raise EndedError
            if content:
                (self.folder / CURRENT).write_text(content.strip())

        registry, uri = Registry(self.folder), str(self.folder / serving)
        with pytest.raises(EndedError):
            rollout.follow(
                registry, uri, self.check, self.deploy, self.messages.append, pause,
                lambda: self.now,
            )  # fmt: skip

    def check(self, uri: str) -> None:
        if last_name(uri) in self.damaged:
            raise BundleError("network.weights.h5 is damaged")
        if last_name(uri) == "unreachable" and (left := self.failures_left):
            self.failures_left = left - 1
            raise DataError("it cannot be reached")

    def deploy(self, uri: str) -> None:
        self.deployed.append(last_name(uri))
        if errors := self.errors.get(last_name(uri)):
            raise errors.pop(0)


@pytest.fixture
def server(folder: Path) -> Server:
    return Server(folder)


def test_each_new_version_is_deployed_once_also_an_old_one_again(server: Server) -> None:
    server.follow("one", "two", "", "two", "one")
    assert server.deployed == ["two", "one"]
    assert server.messages == [
        "rolling out two …", "two serves", "rolling out one …", "one serves",
    ]  # fmt: skip


def test_a_damaged_version_changes_nothing(server: Server) -> None:
    server.follow("damaged", *[""] * 100, "two")
    assert server.deployed == ["two"]
    refusal = "damaged is refused, one keeps serving: network.weights.h5 is damaged"
    assert server.messages == [refusal, "rolling out two …", "two serves"]


def test_a_refused_version_that_was_repaired_serves_when_it_is_chosen_again(server: Server) -> None:
    server.follow("damaged")
    server.damaged.clear()
    server.follow("damaged")
    assert server.messages[-1] == "damaged serves"


def test_a_refused_version_that_was_repaired_serves_after_a_while(server: Server) -> None:
    checked: list[float] = []

    def check(uri: str) -> None:
        checked.append(server.now)
        if len(checked) < 4:
            raise BundleError("it is damaged")

    server.check = check  # type: ignore[method-assign]
    server.follow("damaged", *[""] * 99)
    assert checked == [1, 11, 31, 71]
    assert server.messages == [
        "damaged is refused, one keeps serving: it is damaged",
        "rolling out damaged …",
        "damaged serves",
    ]


def test_a_version_that_does_not_start_is_rolled_back_until_it_is_chosen_again(
    server: Server,
) -> None:
    server.errors["failing"] = [ServerError("no replica starts")]
    server.follow("two", "failing", *[""] * 99)
    assert server.deployed == ["two", "failing", "two"]
    assert server.messages[-1] == "failing does not start, back to two: no replica starts"
    server.follow("failing")
    assert server.messages[-1] == "failing serves"


# Ray and libraries below it raise many kinds of errors.
@pytest.mark.parametrize("error", [ServerError("busy"), RuntimeError("busy"), KeyError("busy")])
def test_a_roll_back_that_fails_is_tried_again_and_the_loop_goes_on(
    server: Server, error: Exception
) -> None:
    server.errors = {"failing": [error], "one": [error, error]}
    server.follow("failing", *[""] * 99)
    assert server.deployed == ["failing", "one", "one", "one"]
    assert server.messages[-2:] == [
        f"one answers, but cannot be deployed again yet: {error}",
        "one is deployed again",
    ]


def test_another_version_can_be_chosen_after_a_roll_back_that_failed(server: Server) -> None:
    server.errors = {"failing": [ServerError("busy")], "one": [ServerError("busy")]}
    server.follow("failing", "two", *[""] * 50)
    assert server.deployed == ["failing", "one", "two"]
    assert server.messages[-1] == "two serves"


def test_no_error_of_a_check_ends_the_loop(server: Server) -> None:
    def check(uri: str) -> None:
        if len(server.messages) < 1:
            raise MemoryError

    server.check = check  # type: ignore[method-assign]
    server.follow("two", "", "")
    assert server.messages == [
        "one keeps serving: MemoryError", "rolling out two …", "two serves",
    ]  # fmt: skip


def test_a_closed_standard_error_does_not_end_the_loop(server: Server) -> None:
    def print_nothing(text: str) -> None:
        raise BrokenPipeError

    server.messages = Mock(append=print_nothing)
    server.follow("damaged", "two")
    assert server.deployed == ["two"]


def test_a_registry_that_is_being_written_is_read_again(server: Server, folder: Path) -> None:
    server.follow(" ", "no such version", "two")
    assert server.deployed == ["two"]
    assert server.messages[0].startswith(
        f"one keeps serving: {folder}: the file 'current' names '', but there are damaged, failing"
    )
    assert server.messages[1:] == ["rolling out two …", "two serves"]


def test_a_version_that_cannot_be_reached_is_tried_again(server: Server) -> None:
    server.follow("two", "unreachable", "", "", "")
    assert server.deployed == ["two", "unreachable"]
    assert server.messages[2:] == [
        "two keeps serving: it cannot be reached",
        "rolling out unreachable …",
        "unreachable serves",
    ]


def test_the_registry_knows_which_version_is_refused(server: Server, folder: Path) -> None:
    models = Registry(folder)
    server.errors["failing"] = [ServerError("no replica starts")]
    server.follow("damaged")
    assert models.refusal() == "network.weights.h5 is damaged"
    server.follow("failing")
    assert models.refusal() == "its replicas do not start: no replica starts"
    server.damaged.clear()
    server.follow("damaged")
    assert models.refusal() == ""


def test_a_registry_that_cannot_be_written_is_followed(server: Server, folder: Path) -> None:
    (folder / REFUSED).mkdir()
    server.follow("damaged", "two")
    assert server.deployed == ["two"]
    notes = [line for line in server.messages if "does not show this refusal" in line]
    assert len(notes) == 1


def test_a_rollback_of_the_registry_rolls_the_server_back(tmp_path: Path) -> None:
    sources = [str(bundles.write(tmp_path / name, name)) for name in ("one", "third")]
    folder = tmp_path / "models"
    for source in sources:
        Registry(folder).add(source)
    server = Server(folder)
    Registry(folder).use("third")
    server.follow("")
    assert server.deployed == ["third"]
    Registry(folder).rollback()
    server.follow("", serving="third")
    assert server.messages[-1] == "one serves"
    assert server.deployed == ["third", "one"]
