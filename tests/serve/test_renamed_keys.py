"""Keys of 0.1 are accepted in 0.2, with a warning that names the new key."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pintag.core import config
from pintag.core.config import Strict
from pintag.core.errors import ConfigError
from pintag.serve.config import CandidateArgs, ClassifierArgs, ExplainerArgs, ServeConfig

# Every key that has another name since 0.1, and a value that is not its default.
RENAMED: list[tuple[str, str, Any]] = [
    ("http.drain_seconds", "http.drain_s", 7),
    ("access.everybody", "access.allow_anonymous", True),
    ("classifier.lanes", "classifier.num_batch_threads", 3),
    ("classifier.deadline_seconds", "classifier.deadline_s", 3.5),
    ("classifier.images.body_seconds", "classifier.images.body_timeout_s", 3.5),
    ("classifier.images.max_pixels", "classifier.images.max_declared_pixels", 9),
    ("explainer.deadline_seconds", "explainer.deadline_s", 3.5),
    ("explainer.images.body_seconds", "explainer.images.body_timeout_s", 3.5),
    ("explainer.images.max_pixels", "explainer.images.max_declared_pixels", 9),
    ("candidate.deadline_seconds", "candidate.deadline_s", 3.5),
]


def renamed(model: type[Strict], section: str = "") -> Iterator[tuple[str, str]]:
    """The old and the new name of every key of a configuration that was renamed."""
    for old, new in model.renamed_keys.items():
        yield f"{section}{old}", f"{section}{new}"
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Strict):
            yield from renamed(field.annotation, f"{section}{key}.")


def nested(key: str, value: Any) -> dict[str, Any]:
    """The mapping that has `value` at a dotted key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def at(values: Any, key: str) -> Any:
    """The value at a dotted key of a configuration."""
    for part in key.split("."):
        values = getattr(values, part)
    return values


def warning(old: str, new: str) -> str:
    return f"The configuration key {old} is deprecated: use {new}"


@pytest.fixture(autouse=True)
def _captured(caplog: pytest.LogCaptureFixture) -> None:
    """Capture warnings even where another test raised the level of the root logger."""
    caplog.set_level(logging.WARNING)


def test_every_renamed_key_is_tested() -> None:
    assert sorted(renamed(ServeConfig)) == sorted((old, new) for old, new, _ in RENAMED)


@pytest.mark.parametrize(("old", "new", "value"), RENAMED)
def test_an_old_key_in_a_file_sets_the_new_one(
    old: str, new: str, value: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(nested(old, value)))
    loaded = config.load(ServeConfig, path)
    assert at(loaded, new) == value
    assert loaded == config.load(ServeConfig, None, [f"{new}={value}"])
    assert caplog.messages == [warning(old, new)]


@pytest.mark.parametrize(("old", "new", "value"), RENAMED)
def test_an_old_key_in_an_override_sets_the_new_one(
    old: str, new: str, value: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It overrides the new key of a file, so scripts of 0.1 work with the files of 0.2."""
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(nested(new, at(ServeConfig(), new))))
    loaded = config.load(ServeConfig, path, [f"{old}={value}"])
    assert at(loaded, new) == value
    assert caplog.messages == [warning(old, new)]


@pytest.mark.parametrize(("old", "new", "value"), RENAMED)
def test_both_keys_at_once_are_refused(old: str, new: str, value: Any) -> None:
    section, _, last = old.rpartition(".")
    both = f"{section}={{{last}: {value}, {new.rpartition('.')[2]}: {value}}}".lower()
    with pytest.raises(ConfigError) as refused:
        config.load(ServeConfig, None, [both])
    assert f"{old} and {new} are the same key; give only {new}" in str(refused.value)


def is_key(model: type[Strict], key: str) -> bool:
    """Whether a configuration has a key. Applications have only some sections of the server's."""
    for part in key.split("."):
        if part not in model.model_fields:
            return False
        model = model.model_fields[part].annotation  # type: ignore[assignment]
    return True


@pytest.mark.parametrize(
    ("args", "old", "new", "value"),
    [
        (args, *row)
        for args in (ClassifierArgs, CandidateArgs, ExplainerArgs)
        for row in RENAMED
        if is_key(args, row[1])
    ],
)
def test_an_old_key_in_the_args_of_a_serve_configuration_sets_the_new_one(
    args: type[ClassifierArgs | CandidateArgs | ExplainerArgs],
    old: str,
    new: str,
    value: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ray validates the args with this class, and writes the logger `ray.serve` to its log file."""
    loaded = args.model_validate({"bundle": "/models/pins", **nested(old, value)})
    assert at(loaded, new) == value
    assert caplog.record_tuples == [("ray.serve", logging.WARNING, warning(old, new))]
    key, both = old.partition(".")[0], nested(old, value)
    inner = both[key]
    for part in new.split(".")[1:-1]:
        inner = inner[part]
    inner[new.rpartition(".")[2]] = value
    with pytest.raises(ValueError, match=f"{old} and {new} are the same key"):
        args.model_validate({"bundle": "/models/pins", **both})


def test_the_command_names_the_new_key_on_standard_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pintag", "serve", "--bundle", "pins", "--environment",
         "http.drain_seconds=7"],
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    assert done.stderr.strip() == warning("http.drain_seconds", "http.drain_s")
    assert "export RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=7\n" in done.stdout


@pytest.mark.parametrize("model", [ServeConfig, ClassifierArgs, CandidateArgs])
def test_a_removed_key_has_no_effect(model: type[Strict], caplog: pytest.LogCaptureFixture) -> None:
    settings: dict[str, Any] = {} if model is ServeConfig else {"bundle": "/b"}
    removed = {"classifier": {"max_ongoing_pixels": 9, "max_batch_size": 3}}
    loaded = config.parse(model, settings | removed)
    assert loaded == config.parse(model, settings | {"classifier": {"max_batch_size": 3}})
    assert caplog.messages == [
        "The configuration key classifier.max_ongoing_pixels has no effect: deadline_s limits what "
        "is decoded at once; remove it"
    ]


def test_a_removed_key_in_a_file_and_in_an_override_has_no_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text("classifier: {max_ongoing_pixels: 9}")
    assert config.load(ServeConfig, path, ["classifier.max_ongoing_pixels=8"]) == ServeConfig()
    assert len(caplog.messages) == 2
