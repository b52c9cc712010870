"""API keys: their hashes, limits, and the validation of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from pintag.core.errors import ConfigError
from pintag.serve.auth import api_keys
from pintag.serve.auth.api_keys import ApiKey

MINE, YOURS = api_keys.create(), api_keys.create()


def entry(name: str, key: str, **limits: float) -> dict[str, object]:
    return {"name": name, "sha256": api_keys.digest(key), **limits}


def test_keys_are_long_and_unique() -> None:
    keys = {api_keys.create() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("pintag_") and len(key) >= 50 for key in keys)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "a b", "sha256": "0" * 64}], "keys.0.name"),
        ([{"name": "a", "sha256": MINE}], "keys.0.sha256"),
        ([{"name": "a", "sha256": "0" * 64, "per_secnd": 1}], r"'keys\.0\.per_secnd'.*per_second"),
        ([{"name": "a", "sha256": "0" * 64, "burst": 5}], "burst without per_second"),
        ([entry("a", MINE), entry("a", YOURS)], "name 'a' is used more than once"),
        ([entry("a", MINE), entry("b", MINE)], "sha256 .* is used more than once"),
    ],
)
def test_an_invalid_file_raises_an_error_that_names_the_key(
    tmp_path: Path, entries: list[dict[str, object]], message: str
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": entries}))
    with pytest.raises(ConfigError, match=message):
        api_keys.load(path)


def test_a_key_in_place_of_its_hash_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": [{"name": "a", "sha256": MINE}]}))
    with pytest.raises(ConfigError, match=r"keys\.0\.sha256") as caught:
        api_keys.load(path)
    assert MINE not in str(caught.value)


def test_an_error_of_a_whole_entry_does_not_quote_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": [entry("a", MINE, burst=5)]}))
    with pytest.raises(ConfigError, match="burst without per_second") as caught:
        api_keys.load(path)
    assert api_keys.digest(MINE) not in str(caught.value)


def test_a_missing_file_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.yaml: cannot be read: No such file"):
        api_keys.load(tmp_path / "keys.yaml")


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_what_is_no_file_of_keys_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 2**40)
    with pytest.raises(ConfigError, match=r"keys\.yaml: (is not a regular file|has more than)"):
        api_keys.load(path)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("per_second", 1e300), ("per_second", 1e-300), ("per_second", float("nan")),
        ("burst", 10**40), ("per_day", 10**400),
    ],
)  # fmt: skip
def test_a_limit_that_no_limiter_can_count_is_refused(limit: str, value: float) -> None:
    limits = {"per_second": 1.0} if limit == "burst" else {}
    content = yaml.safe_dump({"keys": [entry("a", "key", **limits, **{limit: value})]}).encode()
    with pytest.raises(ConfigError, match=rf"'keys\.0\.{limit}': must be"):
        api_keys.parse(content, "keys.yaml")


@pytest.mark.parametrize("content", [b"", b"\n", b"# keys\n", b"keys:\n", b"---\n", b"keys: null"])
def test_an_empty_file_is_an_error_that_says_how_to_revoke_all(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"keys\.yaml: there are no keys: the file is empty or"):
        api_keys.parse(content, "keys.yaml")


@pytest.mark.parametrize("content", [b"keys: []", b"keys: []\n", api_keys.dump([]).encode()])
def test_a_list_without_keys_is_valid(content: bytes) -> None:
    assert api_keys.parse(content, "keys.yaml").keys == ()


@pytest.mark.parametrize("content", [b"keys: [", b"\xff", b"- name: a", b"keys", b"{}", b"keys: 3"])
def test_other_content_is_an_error(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^keys\.yaml: "):
        api_keys.parse(content, "keys.yaml")


def test_a_file_that_is_cut_off_anywhere_is_an_error_or_has_all_keys() -> None:
    entries = [entry("mine", MINE, per_second=20.0, per_day=100), entry("yours", YOURS)]
    content = api_keys.dump(entries).encode()
    assert len(api_keys.parse(content, "keys.yaml").keys) == 2
    for length in range(len(content) - 1):
        with pytest.raises(ConfigError):
            api_keys.parse(content[:length], "keys.yaml")


def test_a_client_is_the_same_with_a_new_key_and_another_one_when_it_is_made_anew() -> None:
    def client_id(key: str, **values: str) -> str:
        return ApiKey.model_validate({**entry("mine", key), **values}).holder(0.0).id

    assert client_id(MINE, id="1") == client_id(YOURS, id="1") != client_id(YOURS, id="2")
    assert client_id(MINE) == client_id(YOURS) == "mine"
