"""`pintag key`: keys for clients, in a file that a server reads."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pintag.core import files
from pintag.serve.auth import api_keys
from tests.pintag.cli.conftest import Cli


def test_a_key_is_printed_once_and_stored_as_a_hash(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "secret/keys.yaml"
    created = cli("key", "uploads", "--file", path, "--per-second", "5").out.strip()
    assert created.startswith("pintag_")
    assert created not in path.read_text()
    (result,) = api_keys.load(path).keys
    assert (result.name, result.per_second, result.burst) == ("uploads", 5, None)
    assert result.sha256 == api_keys.digest(created)


def test_a_new_key_replaces_the_clients_old_one(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    old, other, new = (cli("key", name, "--file", path).out.strip() for name in ("a", "b", "a"))
    names = {key.sha256: key.name for key in api_keys.load(path).keys}
    assert names == {api_keys.digest(other): "b", api_keys.digest(new): "a"}
    assert api_keys.digest(old) not in names


def test_a_key_is_revoked(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    cli("key", "a", "--file", path)
    assert cli("key", "a", "--file", path, "--revoke").code == 0
    assert api_keys.load(path).keys == ()
    again = cli("key", "a", "--file", path, "--revoke")
    assert again.code == 1
    assert again.err == f"error: {path}: there is no key for 'a'\n"


def test_a_wrong_name_or_limit_is_reported_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    for arguments, code, words in (
        (["a b"], 1, "'name'"),
        (["a", "--per-day", "0"], 2, "'--per-day'"),
        (["a", "--per-second", "0"], 2, "'--per-second'"),
        (["a", "--burst", "0"], 2, "'--burst'"),
        (["a", "--burst", "5"], 2, "--burst has no effect without --per-second; give both"),
    ):
        output = cli("key", *arguments, "--file", path)
        assert output.code == code
        assert words in output.err
        # The hash of a key that nobody has.
        assert "sha256" not in output.err
    assert not path.exists()


def test_a_clients_new_key_keeps_its_counts_and_its_limits(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    cli("key", "a", "--file", path, "--per-second", 5, "--per-day", 100)
    (old,) = api_keys.load(path).keys
    cli("key", "a", "--file", path, "--per-day", 200)
    (new,) = api_keys.load(path).keys
    assert new.holder(0.0).id == old.holder(0.0).id != "a"
    assert (new.per_second, new.per_day) == (5, 200)
    cli("key", "a", "--file", path, "--no-limits")
    (free,) = api_keys.load(path).keys
    assert (free.id, free.is_limited) == (old.id, False)


def test_a_client_that_is_made_anew_after_it_was_revoked_is_another_one(
    cli: Cli, tmp_path: Path
) -> None:
    path, ids = tmp_path / "keys.yaml", set()
    for _ in range(2):
        cli("key", "a", "--file", path)
        (entry,) = api_keys.load(path).keys
        ids.add(entry.holder(0.0).id)
        cli("key", "a", "--file", path, "--revoke")
    assert len(ids) == 2


def test_a_client_of_an_older_file_stays_the_same_one(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys: [{{name: a, sha256: {'a' * 64}}}]")
    cli("key", "a", "--file", path)
    (entry,) = api_keys.load(path).keys
    assert (entry.id, entry.holder(0.0).id) == (None, "a")


@pytest.mark.parametrize("option", [[], ["--revoke"]])
def test_an_empty_or_cut_off_file_is_reported_and_left_alone(
    cli: Cli, tmp_path: Path, option: list[str]
) -> None:
    path = tmp_path / "keys.yaml"
    for content in ("", "keys:\n"):
        path.write_text(content)
        output = cli("key", "a", "--file", path, *option)
        assert output.code == 1
        assert "the file is empty or cut off" in output.err
        assert path.read_text() == content


@pytest.mark.parametrize(
    ("option", "failure"), [([], "no key was created"), (["--revoke"], "no key was deleted")]
)
def test_a_file_that_cannot_be_written_is_reported_and_unchanged(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], failure: str
) -> None:
    path = tmp_path / "keys.yaml"
    cli("key", "a", "--file", path)
    content = path.read_text()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    output = cli("key", "a", "--file", path, *option)
    assert (output.code, output.out) == (1, "")
    assert f"cannot be written: No space left on device; {failure}" in " ".join(output.err.split())
    assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_keeps_its_mode_and_a_link_stays_a_link(cli: Cli, tmp_path: Path) -> None:
    path, link = tmp_path / "keys.yaml", tmp_path / "link.yaml"
    cli("key", "a", "--file", path)
    path.chmod(0o600)
    link.symlink_to(path)
    cli("key", "b", "--file", link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in api_keys.load(path).keys] == ["a", "b"]
