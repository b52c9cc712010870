"""One way to a token and to Ray's options, for every command that uses Ray."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from pintag.cluster import ray_variables
from pintag.core import machine
from pintag.core.errors import ClusterError
from tests.conftest import free_port

MIB = 2**20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and none of the variables."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH",
                 "RAY_USAGE_STATS_ENABLED", "RAY_TMPDIR"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    # Restores what the tests set.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["HOME"] = str(tmp_path)
    return tmp_path


def test_a_local_cluster_gets_a_token_that_no_file_has(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    ray_variables.set_variables()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert list(home.iterdir()) == []


def test_the_mode_is_left_to_ray_that_is_imported_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has read the variable; `ray.init` changes the mode only if the variable is not set."""
    monkeypatch.setitem(sys.modules, "ray", ray_variables)
    ray_variables.set_variables()
    assert "RAY_AUTH_MODE" not in os.environ
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_ray_reports_nothing_to_its_makers_unless_the_user_wants_it() -> None:
    ray_variables.set_variables()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "1"
    ray_variables.set_variables()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_a_token_that_ray_start_would_obey_is_sent_to_a_cluster(home: Path) -> None:
    os.environ["RAY_ADDRESS"] = "auto"
    ray_variables.set_variables()
    assert "RAY_AUTH_MODE" not in os.environ
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("secret")
    ray_variables.set_variables()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_the_users_own_mode_is_kept(name: str) -> None:
    os.environ |= {"RAY_ADDRESS": "auto", name: "value", "RAY_AUTH_MODE": "disabled"}
    ray_variables.set_variables()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_a_user_without_a_home_has_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert not ray_variables.has_token()


@pytest.mark.parametrize(
    ("shared", "expected"),
    [(64 * MIB, 80 * MIB), (1000 * MIB, 900 * MIB), (None, 3000 * MIB), (10**12, 3000 * MIB)],
)
def test_the_object_store_fits_into_shared_memory(
    monkeypatch: pytest.MonkeyPatch, shared: int | None, expected: int
) -> None:
    monkeypatch.setattr(machine, "allowed_memory", lambda: 10_000 * MIB)
    assert ray_variables.object_store_bytes(shared) == pytest.approx(expected, rel=0.001)


def test_a_local_cluster_has_the_processors_that_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "allowed_cpus", lambda: 3)
    assert ray_variables.local_options()["num_cpus"] == 3
    assert ray_variables.local_options(min_cpus=5)["num_cpus"] == 5


def test_an_address_where_nothing_listens_is_refused_with_a_remedy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_variables, "_ADDRESS_TIMEOUT_S", 0.1)
    address = f"127.0.0.1:{free_port()}"
    os.environ["RAY_ADDRESS"] = address
    with pytest.raises(ClusterError, match=f"answers at {address}.*check RAY_ADDRESS"):
        ray_variables.check_address()
    # `auto` means the cluster that was started last.
    (home / "ray").mkdir()
    (home / "ray" / "ray_current_cluster").write_text(address)
    os.environ |= {"RAY_ADDRESS": "auto", "RAY_TMPDIR": str(home)}
    with pytest.raises(ClusterError, match=address):
        ray_variables.check_address()


@pytest.mark.parametrize("address", ["", "auto", "ray://head:10001"])
def test_addresses_that_only_ray_understands_are_left_to_it(home: Path, address: str) -> None:
    os.environ |= {"RAY_ADDRESS": address, "RAY_TMPDIR": str(home)}
    ray_variables.check_address()


def test_an_address_that_answers_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        os.environ["RAY_ADDRESS"] = f"127.0.0.1:{head.getsockname()[1]}"
        ray_variables.check_address()


def test_a_user_without_a_home_can_import_ray_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as any user id."""

    def nobody(user: int) -> None:
        raise KeyError(user)

    del os.environ["HOME"]
    monkeypatch.setattr("pwd.getpwuid", nobody)
    ray_variables.set_variables()
    # What Ray Train does when it is imported.
    assert Path("~/ray_results").expanduser() == Path("/nonexistent/ray_results")
