"""Typed, strict configuration: YAML files and `key=value` overrides become pydantic models.

A key that the model does not know is an error that names it and the nearest known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from pintag.errors import ConfigError


class Strict(BaseModel):
    """The base of every configuration: immutable, and no unknown key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Strict)


def load(model: type[S], path: Path | None, overrides: Iterable[str] = ()) -> S:
    """Read a YAML file (none: the defaults) and apply `dotted.key=value` overrides, in order.

    Values of overrides are YAML too: `head.widths=[128,64]`, `seed=3`, `backbone.weights=none`.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong; every mistake is named.
    """
    values = _read_yaml(path) if path else {}
    for override in overrides:
        _apply(values, override)
    return parse(model, values, source=str(path) if path else "configuration")


def parse(model: type[S], values: Mapping[str, Any], source: str = "configuration") -> S:
    """Validate a mapping; a `ConfigError` names `source` and every wrong key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    # A ValueError is text that is not UTF-8, or a value such as the date 2024-99-99.
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} is not of the form key=value")
    *parents, last = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent!r} has no keys of its own")
        values = child
    try:
        values[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML") from error


def _explain(model: type[BaseModel], problem: Any) -> str:
    """One mistake in one line; what is wrong with the whole has no key."""
    location, known = _locate(model, problem["loc"])
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_suggestion(location, known)}"
    message: str = problem["msg"].removeprefix("Value error, ")
    if not location:
        return message
    if problem["type"] == "missing":
        return f"{key!r} is missing, and has no default"
    return f"{key!r}: {message} (found {problem['input']!r})"


def _locate(model: type[BaseModel], parts: Iterable[str | int]) -> tuple[list[str], list[str]]:
    """The keys that lead to a place, and those that are known beside it.

    Where a key's models are told apart by one of their fields, pydantic puts its value in between.
    """
    location, beside = [], list[str]()
    models = {"": model}
    for part in map(str, parts):
        if part in models:
            models = {"": models[part]}
            continue
        location.append(part)
        beside = [name for each in models.values() for name in each.model_fields]
        fields = [each.model_fields[part] for each in models.values() if part in each.model_fields]
        models = _models(fields[0]) if fields else {}
    return location, beside


def _models(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The models that a field may have: by the values that tell them apart, or the only one."""
    kinds = [
        kind
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
    if isinstance(field.discriminator, str):
        return {kind.model_fields[field.discriminator].default: kind for kind in kinds}
    return {"": kinds[0]} if kinds else {}


def _suggestion(location: list[str], known: list[str]) -> str:
    if not known:
        return ""
    near = difflib.get_close_matches(location[-1], known, n=1)
    if near:
        return f"; did you mean {'.'.join([*location[:-1], near[0]])!r}?"
    return f"; known here: {', '.join(known)}"
