"""Configuration: files, overrides, and errors that name every mistake."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from pintag.core import config
from pintag.core.config import Strict, load
from pintag.core.errors import ConfigError


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
    """The lines of the error message, without the file name or the override."""
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path, overrides)
    sources = [f"{path or 'configuration'}: ", *(f"override {text!r}: " for text in overrides)]
    lines = []
    for line in str(raised.value).splitlines():
        (source,) = [source for source in sources if line.startswith(source)]
        lines.append(line.removeprefix(source))
    return lines


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(Experiment, None, overrides)
    return str(raised.value)


def test_without_a_file_the_defaults_apply() -> None:
    assert load(Experiment, None) == Experiment()


def test_a_file_changes_the_keys_that_it_has(path: Path) -> None:
    path.write_text("seed: 3\nhead:\n  widths: [128, 64]\n")
    assert load(Experiment, path) == Experiment(seed=3, head=Head(widths=(128, 64)))


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_gives_the_defaults(path: Path, text: str) -> None:
    path.write_text(text)
    assert load(Experiment, path) == Experiment()


def test_a_number_may_be_written_with_an_exponent(path: Path) -> None:
    """YAML 1.1 reads 1e-4 as text, but it is a usual learning rate."""
    path.write_text("head: {learning_rate: 1e-4}")
    assert load(Experiment, path).head.learning_rate == 0.0001


def test_overrides_replace_values_of_the_file_and_of_earlier_overrides(path: Path) -> None:
    path.write_text("seed: 3\nhead: {widths: [128], learning_rate: 0.5}\n")
    result = load(Experiment, path, ["seed=4", "head.widths=[32, 16]", "name=a=b", "seed=5"])
    assert result == Experiment(seed=5, name="a=b", head=Head(widths=(32, 16), learning_rate=0.5))


def test_an_override_creates_missing_parents() -> None:
    assert load(Experiment, None, ["tail.length=7"]).tail == Tail(length=7)


@pytest.mark.parametrize("value", ["null", "~"])
def test_null_is_none(value: str) -> None:
    assert load(Experiment, None, [f"name={value}"]).name is None


def test_a_configuration_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Experiment().seed = 3  # type: ignore[misc]


def test_the_error_for_an_unknown_key_suggests_the_most_similar_key(path: Path) -> None:
    path.write_text("sead: 1")
    assert mistakes(path) == ["unknown key 'sead'; did you mean 'seed'?"]


def test_the_error_for_an_unknown_nested_key_suggests_a_key_of_its_level(path: Path) -> None:
    path.write_text("head: {learning_rat: 1}\ntail: {lenght: 2}")
    assert mistakes(path) == [
        "unknown key 'head.learning_rat'; did you mean 'head.learning_rate'?",
        "unknown key 'tail.lenght'; did you mean 'tail.length'?",
    ]


def test_without_a_similar_key_the_error_lists_all_valid_keys() -> None:
    assert mistakes(None, "head.zzz=1") == [
        "unknown key 'head.zzz'; valid keys: widths, learning_rate"
    ]
    assert mistakes(None, "zzz=1") == [
        "unknown key 'zzz'; valid keys: seed, name, mode, head, tail"
    ]


def test_an_error_shows_the_wrong_value_and_its_key() -> None:
    (line,) = mistakes(None, "seed=many")
    assert line == "'seed': must be a whole number, such as 3 (found 'many')"
    (line,) = mistakes(None, "head.learning_rate=-1")
    assert line == "'head.learning_rate': must be greater than 0 (found -1)"
    (line,) = mistakes(None, "mode=medium")
    assert line == "'mode': must be 'fast' or 'slow' (found 'medium')"
    (line,) = mistakes(None, "head.widths=[1, two]")
    assert line.startswith("'head.widths.1': ")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="'name' is missing"):
        load(Named, None)


def test_every_mistake_is_reported_at_once(path: Path) -> None:
    path.write_text("seed: many\nhead: {width: [1]}\ntial: 1\nmode: slow\n")
    result = mistakes(path, "head.learning_rate=0")
    assert len(result) == 4
    for key in ("'seed'", "'head.width'", "'tial'", "'head.learning_rate'"):
        assert sum(key in line for line in result) == 1


def test_a_key_that_is_not_text_is_named(path: Path) -> None:
    path.write_text("1: 2")
    (line,) = mistakes(path)
    assert line.startswith("'1': ")


@pytest.mark.parametrize("override", ["seed", "=3", "", "head.widths:3"])
def test_an_override_without_a_key_and_a_value_is_refused(override: str) -> None:
    assert refusal(override) == f"override {override!r} is not of the form key=value"


def test_an_override_with_an_empty_part_is_refused() -> None:
    assert refusal("head..widths=3") == "override 'head..widths=3': the key has an empty part"


@pytest.mark.parametrize("value", [".inf", ".nan"])
def test_a_number_must_be_finite(value: str) -> None:
    (line,) = mistakes(None, f"head.learning_rate={value}")
    assert line.startswith("'head.learning_rate': must be a finite number")


def test_an_override_below_a_scalar_is_refused(path: Path) -> None:
    message = "override 'seed.low=1': 'seed' is a value without keys"
    assert refusal("seed=3", "seed.low=1") == message
    path.write_text("seed: 3")
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path, ["seed.low=1"])
    assert str(raised.value) == message


# The last two are valid syntax but invalid values, for which PyYAML raises a plain ValueError.
@pytest.mark.parametrize("text", ["[1", "{a: b", "a: b: c", "!!python/name:os", "2024-99-99"])
def test_invalid_yaml_is_refused(path: Path, text: str) -> None:
    message = f"override 'seed={text}': the value is not valid YAML: "
    assert refusal(f"seed={text}").startswith(message)
    path.write_text(f"seed: {text}")
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path)
    assert str(raised.value).startswith(f"{path}: not valid YAML: ")


def test_an_error_names_the_file_or_the_override_with_the_wrong_value(path: Path) -> None:
    path.write_text("seed: x\nhead: {learning_rate: 1}\ntail: {length: y}")
    overrides = ["head.learning_rate=0", "tail={length: z}", "mode=slow", "head.width=3"]
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path, overrides)
    lines = str(raised.value).splitlines()
    assert [line.split(": '")[0].split(": unknown")[0] for line in lines] == [
        f"{path}",
        "override 'head.learning_rate=0'",
        "override 'head.width=3'",
        "override 'tail={length: z}'",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: 1\nname: x\nseed: 2\n", "line 3: the key 'seed' is given twice"),
        ("head:\n  widths: [1]\n  'widths': [2]", "line 3: the key 'widths' is given twice"),
        ("seed: 1\nname: 2024-99-99\n", "line 2: month must be in 1..12"),
        ("seed: 1\nname: [x\n", "line 3: expected ',' or ']', but got '<stream end>'"),
        ("a: \0", "unacceptable character #x0000: special characters are not allowed in"),
    ],
)
def test_an_error_of_a_file_names_its_line(path: Path, text: str, problem: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path)
    assert str(raised.value).startswith(f"{path}: not valid YAML: {problem}")


def test_a_file_that_is_nested_too_deeply_is_refused(path: Path) -> None:
    path.write_text("name: x\nseed: " + 5000 * "[")
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path)
    assert str(raised.value) == f"{path}: not valid YAML: line 2: it is nested too deeply"


def test_an_override_gives_no_key_twice() -> None:
    assert refusal("head={widths: [1], widths: [2]}") == (
        "override 'head={widths: [1], widths: [2]}': the value is not valid YAML: "
        "the key 'widths' is given twice"
    )
    assert "it is nested too deeply" in refusal("head=" + 5000 * "[")


def test_a_merged_key_may_be_given_again(path: Path) -> None:
    path.write_text("tail: &base {length: 1}\nhead: {<<: {widths: [1]}, widths: [2]}")
    assert load(Experiment, path).head.widths == (2,)


def test_a_file_that_is_not_utf8_is_refused(path: Path) -> None:
    path.write_bytes(b"name: gr\xfcn")
    with pytest.raises(ConfigError, match=r"experiment\.yaml: not valid YAML"):
        load(Experiment, path)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b", "list"), ("seed", "str"), ("3", "int")])
def test_a_file_that_is_not_a_mapping_is_refused(path: Path, text: str, kind: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(Experiment, path)
    assert str(raised.value) == f"{path}: expected keys and values, found {kind}"


def test_a_missing_file_and_a_folder_are_named(path: Path) -> None:
    for folder, reason in ((path, "No such file"), (path.parent, "Is a directory")):
        with pytest.raises(ConfigError) as raised:
            load(Experiment, folder)
        assert str(raised.value).startswith(f"{folder}: cannot be read: {reason}")


def test_errors_of_parse_name_the_source() -> None:
    assert config.parse(Experiment, {"seed": "3"}, "request") == Experiment(seed=3)
    with pytest.raises(ConfigError, match=r"^request: unknown key 'sed'; did you mean 'seed'"):
        config.parse(Experiment, {"sed": 3}, "request")


class Engine(Strict):
    renamed_keys: ClassVar[Mapping[str, str]] = {"power_watts": "power_w"}

    power_w: int = 1


class Car(Strict):
    renamed_keys: ClassVar[Mapping[str, str]] = {"motor": "engine"}

    engine: Engine = Engine()


def test_a_renamed_key_is_accepted_with_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Another test may have raised the level of the root logger.
    caplog.set_level(logging.WARNING)
    path.write_text("motor: {power_watts: 3}")
    assert load(Car, path) == Car(engine=Engine(power_w=3))
    assert caplog.messages == [
        "The configuration key motor is deprecated: use engine",
        "The configuration key engine.power_watts is deprecated: use engine.power_w",
    ]


def test_an_override_with_an_old_name_replaces_the_value_of_the_new_name(path: Path) -> None:
    path.write_text("engine: {power_w: 3}")
    assert load(Car, path, ["engine.power_watts=4"]).engine.power_w == 4
    assert load(Car, path, ["motor={power_watts: 5}"]).engine.power_w == 5


def test_a_key_with_both_its_old_and_new_name_is_refused(path: Path) -> None:
    path.write_text("engine: {power_w: 3, power_watts: 3}")
    with pytest.raises(ConfigError) as refused:
        load(Car, path)
    assert str(refused.value) == (
        f"{path}: engine.power_watts and engine.power_w are the same key; give only engine.power_w"
    )


def test_the_parsed_mapping_is_not_changed() -> None:
    values = {"motor": {"power_watts": 3}}
    assert config.parse(Car, values).engine.power_w == 3
    assert values == {"motor": {"power_watts": 3}}


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {b: 1}\nc: {<<: *a, b: 2}\na: 3\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: not valid YAML: line 3: the key 'a'"):
        load(Strict, path)
    with pytest.raises(ConfigError, match="the value is not valid YAML"):
        load(Strict, None, ["a={b: 1, b: 2}"])


def test_yaml_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: " + "[" * 5000)
    with pytest.raises(ConfigError, match=r"not valid YAML: it is nested too deeply"):
        load(Strict, path)
    with pytest.raises(ConfigError, match="the value is not valid YAML"):
        load(Strict, None, ["a=" + "[" * 5000])


def test_a_value_that_contains_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &a [*a]\n")
    with pytest.raises(ConfigError, match="unknown key 'a'"):
        load(Strict, path)


@pytest.mark.parametrize("override", ["name=", "seed=", "head.widths= "])
def test_an_override_without_a_value_is_refused(override: str) -> None:
    """A shell variable that is not set would otherwise turn off what has no value."""
    key = override.split("=")[0]
    assert refusal(override).startswith(f"override {override!r} has no value; write {key}=null")
    assert load(Experiment, None, ["name=null"]).name is None
    assert load(Experiment, None, ['name=""']).name == ""


@pytest.mark.parametrize("override", ["seed=true", "head.learning_rate=yes", "name=off"])
def test_true_and_false_are_no_numbers_and_no_texts(override: str) -> None:
    assert f"'{override.split('=')[0]}'" in refusal(override)


def test_a_number_with_colons_is_no_number(path: Path) -> None:
    path.write_text("seed: 1:30\n")
    (line,) = mistakes(path)
    assert "1:30" in line
