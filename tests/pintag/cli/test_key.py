"""`pintag key`: keys for clients, in a file that a server reads."""

from __future__ import annotations

from pathlib import Path

from pintag import config
from serve.keys import Keys
from tests.pintag.cli.conftest import Cli


def test_a_key_is_told_once_and_its_hash_kept(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "secret/keys.yaml"
    made = cli("key", "uploads", "--file", path, "--per-second", "5").out.strip()
    assert made.startswith("pintag_")
    assert made not in path.read_text()
    (found,) = config.load(Keys, path).keys
    assert (found.name, found.per_second, found.burst) == ("uploads", 5, None)
    assert config.load(Keys, path).find(made) == found


def test_a_clients_new_key_takes_the_place_of_the_old_one(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    old, other, new = (cli("key", name, "--file", path).out.strip() for name in ("a", "b", "a"))
    known = config.load(Keys, path)
    assert known.find(old) is None
    assert [each.name for key in (other, new) if (each := known.find(key))] == ["b", "a"]


def test_a_key_is_revoked(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    cli("key", "a", "--file", path)
    assert cli("key", "a", "--file", path, "--revoke").code == 0
    assert config.load(Keys, path).keys == ()
    again = cli("key", "a", "--file", path, "--revoke")
    assert again.code == 1
    assert "there is no key of 'a'" in again.err


def test_a_bad_name_or_limit_is_named_and_nothing_written(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    for arguments, words in ((["a b"], "name"), (["a", "--per-day", "0"], "per_day")):
        said = cli("key", *arguments, "--file", path)
        assert said.code == 1
        assert words in said.err
    assert not path.exists()
