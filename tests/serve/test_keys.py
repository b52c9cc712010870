"""The file of keys: who has one, and what becomes of it while the server runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pintag import config
from pintag.errors import ConfigError
from serve import keys
from serve.keys import Key, KeyFile, Keys, Limits

MINE, YOURS = keys.create(), keys.create()


def entry(name: str, key: str, **limits: float) -> dict[str, object]:
    return {"name": name, "sha256": keys.digest(key), **limits}


def write(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump({"keys": list(entries)}))
    return path


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_key_is_long_and_like_no_other() -> None:
    made = {keys.create() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("pintag_") and len(key) >= 50 for key in made)


def test_a_key_is_found_by_its_hash_and_nothing_else_is() -> None:
    known = Keys(keys=(Key(**entry("mine", MINE)), Key(**entry("yours", YOURS))))
    assert [each and each.name for each in map(known.find, (MINE, YOURS))] == ["mine", "yours"]
    for wrong in ("", MINE[:-1], MINE + "x", keys.digest(MINE), "ä"):
        assert known.find(wrong) is None


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"name": "a b", "sha256": "0" * 64}], "keys.0.name"),
        ([{"name": "a", "sha256": MINE}], "keys.0.sha256"),
        ([{"name": "a", "sha256": "0" * 64, "per_secnd": 1}], "unknown key 'keys.0.per_secnd'"),
        ([{"name": "a", "sha256": "0" * 64, "burst": 5}], "burst without per_second"),
        ([entry("a", MINE), entry("a", YOURS)], "name 'a' is there more than once"),
        ([entry("a", MINE), entry("b", MINE)], "sha256 .* is there more than once"),
    ],
)
def test_a_wrong_file_is_refused_by_name(
    tmp_path: Path, entries: list[dict[str, object]], words: str
) -> None:
    path = write(tmp_path / "keys.yaml", *entries)
    with pytest.raises(ConfigError, match=words):
        KeyFile(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.yaml: cannot be read"):
        KeyFile(tmp_path / "keys.yaml")


def test_a_changed_file_is_read_anew_within_a_second(tmp_path: Path) -> None:
    clock = Clock()
    path = write(tmp_path / "keys.yaml", entry("mine", MINE))
    file = KeyFile(path, clock)
    write(path, entry("yours", YOURS))
    assert file.find(MINE)
    clock.seconds = 1
    assert file.find(MINE) is None
    assert file.find(YOURS)


@pytest.mark.parametrize("content", ["keys: [", "keys: [{name: mine}]", None])
def test_a_file_that_is_spoilt_leaves_the_keys_as_they_were(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    path = write(tmp_path / "keys.yaml", entry("mine", MINE))
    file = KeyFile(path, clock)
    path.unlink() if content is None else path.write_text(content)
    clock.seconds = 1
    assert file.find(MINE)
    assert MINE not in caplog.text


def test_a_burst_is_what_two_seconds_allow_unless_it_is_told() -> None:
    assert Limits(per_second=10).capacity == 20
    assert Limits(per_second=0.1).capacity == 1
    assert config.parse(Limits, {"per_second": 10, "burst": 3}).capacity == 3
