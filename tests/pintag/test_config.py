"""Configuration: what is written is what counts, and every mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from pintag import config
from pintag.config import Strict, load
from pintag.errors import ConfigError


class Head(Strict):
    widths: tuple[int, ...] = (64,)
    learning_rate: float = Field(default=0.1, gt=0)


class Tail(Strict):
    length: int = 1


class Experiment(Strict):
    seed: int = 0
    name: str | None = None
    mode: Literal["fast", "slow"] = "fast"
    head: Head = Head()
    tail: Tail | None = None


class Named(Strict):
    name: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "experiment.yaml"


def mistakes(path: Path | None, *overrides: str) -> list[str]:
    """The lines of the error that these make, without the name of the file."""
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path, overrides)
    source = f"{path or 'configuration'}: "
    lines = str(raised.value).splitlines()
    assert all(line.startswith(source) for line in lines)
    return [line.removeprefix(source) for line in lines]


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(Experiment, None, overrides)
    return str(raised.value)


def test_without_a_file_the_defaults_hold() -> None:
    assert load(Experiment, None) == Experiment()


def test_a_file_changes_what_it_names(path: Path) -> None:
    path.write_text("seed: 3\nhead:\n  widths: [128, 64]\n")
    assert load(Experiment, path) == Experiment(seed=3, head=Head(widths=(128, 64)))


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_gives_the_defaults(path: Path, text: str) -> None:
    path.write_text(text)
    assert load(Experiment, path) == Experiment()


def test_a_number_may_be_written_with_an_exponent(path: Path) -> None:
    """YAML 1.1 takes 1e-4 for text; a learning rate is written so all the same."""
    path.write_text("head: {learning_rate: 1e-4}")
    assert load(Experiment, path).head.learning_rate == 0.0001


def test_overrides_win_over_the_file_and_later_ones_over_earlier(path: Path) -> None:
    path.write_text("seed: 3\nhead: {widths: [128], learning_rate: 0.5}\n")
    found = load(Experiment, path, ["seed=4", "head.widths=[32, 16]", "name=a=b", "seed=5"])
    assert found == Experiment(seed=5, name="a=b", head=Head(widths=(32, 16), learning_rate=0.5))


def test_an_override_makes_the_parents_it_needs() -> None:
    assert load(Experiment, None, ["tail.length=7"]).tail == Tail(length=7)


@pytest.mark.parametrize("value", ["", "null", "~"])
def test_an_override_without_a_value_is_none(value: str) -> None:
    assert load(Experiment, None, [f"name={value}"]).name is None


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Experiment().seed = 3  # type: ignore[misc]


def test_an_unknown_key_is_answered_with_the_nearest(path: Path) -> None:
    path.write_text("sead: 1")
    assert mistakes(path) == ["unknown key 'sead'; did you mean 'seed'?"]


def test_an_unknown_nested_key_is_answered_with_the_nearest_beside_it(path: Path) -> None:
    path.write_text("head: {learning_rat: 1}\ntail: {lenght: 2}")
    assert mistakes(path) == [
        "unknown key 'head.learning_rat'; did you mean 'head.learning_rate'?",
        "unknown key 'tail.lenght'; did you mean 'tail.length'?",
    ]


def test_an_unknown_key_like_no_other_is_answered_with_all() -> None:
    assert mistakes(None, "head.zzz=1") == [
        "unknown key 'head.zzz'; known here: widths, learning_rate"
    ]
    assert mistakes(None, "zzz=1") == [
        "unknown key 'zzz'; known here: seed, name, mode, head, tail"
    ]


def test_a_wrong_type_and_a_wrong_value_are_named_with_what_was_found() -> None:
    (line,) = mistakes(None, "seed=many")
    assert line.startswith("'seed': ")
    assert "valid integer" in line
    assert line.endswith("(found 'many')")
    (line,) = mistakes(None, "head.learning_rate=-1")
    assert line == "'head.learning_rate': Input should be greater than 0 (found -1)"
    (line,) = mistakes(None, "mode=medium")
    assert line == "'mode': Input should be 'fast' or 'slow' (found 'medium')"
    (line,) = mistakes(None, "head.widths=[1, two]")
    assert line.startswith("'head.widths.1': ")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="'name' is missing"):
        load(Named, None)


def test_every_mistake_is_reported_at_once(path: Path) -> None:
    path.write_text("seed: many\nhead: {width: [1]}\ntial: 1\nmode: slow\n")
    found = mistakes(path, "head.learning_rate=0")
    assert len(found) == 4
    for key in ("'seed'", "'head.width'", "'tial'", "'head.learning_rate'"):
        assert sum(key in line for line in found) == 1


def test_a_key_that_is_no_text_is_named(path: Path) -> None:
    path.write_text("1: 2")
    (line,) = mistakes(path)
    assert line.startswith("'1': ")


@pytest.mark.parametrize("override", ["seed", "=3", "", "head.widths:3"])
def test_an_override_that_is_no_assignment_is_shown(override: str) -> None:
    assert refusal(override) == f"override {override!r} is not of the form key=value"


def test_an_override_below_a_scalar_is_refused(path: Path) -> None:
    message = "override 'seed.low=1': 'seed' has no keys of its own"
    assert refusal("seed=3", "seed.low=1") == message
    path.write_text("seed: 3")
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path, ["seed.low=1"])
    assert str(raised.value) == message


# The last two are well formed and no values: YAML's constructors raise a plain ValueError.
@pytest.mark.parametrize("text", ["[1", "{a: b", "a: b: c", "!!python/name:os", "2024-99-99"])
def test_yaml_that_is_none_is_refused(path: Path, text: str) -> None:
    assert refusal(f"seed={text}") == f"override 'seed={text}': the value is not valid YAML"
    path.write_text(f"seed: {text}")
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path)
    assert str(raised.value).startswith(f"{path}: not valid YAML: ")


def test_a_file_that_is_no_text_is_refused(path: Path) -> None:
    path.write_bytes(b"name: gr\xfcn")
    with pytest.raises(ConfigError, match=r"experiment\.yaml: not valid YAML"):
        load(Experiment, path)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b", "list"), ("seed", "str"), ("3", "int")])
def test_a_file_that_is_no_mapping_is_refused(path: Path, text: str, kind: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path)
    assert str(raised.value) == f"{path}: expected keys and values, found {kind}"


def test_a_missing_file_and_a_folder_are_named(path: Path) -> None:
    for place, reason in ((path, "No such file"), (path.parent, "Is a directory")):
        with pytest.raises(ConfigError) as raised:
            load(Experiment, place)
        assert str(raised.value).startswith(f"{place}: cannot be read: {reason}")


def test_parse_names_the_source_it_is_given() -> None:
    assert config.parse(Experiment, {"seed": "3"}, "request") == Experiment(seed=3)
    with pytest.raises(ConfigError, match=r"^request: unknown key 'sed'; did you mean 'seed'"):
        config.parse(Experiment, {"sed": 3}, "request")
