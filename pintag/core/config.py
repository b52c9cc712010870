"""Typed, strict configuration: YAML files and `key=value` overrides become pydantic models.

An unknown key is an error that names it and the most similar valid key. A key that
was renamed is accepted for one release, with a warning that names the new key.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from pintag.core import strict_yaml
from pintag.core.errors import ConfigError
from pintag.core.strict_yaml import YamlError


class Strict(BaseModel):
    """The base class of configurations: immutable, without unknown keys, all numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """The keys that were renamed since the last release: the new name of each old name."""
    logger: ClassVar[logging.Logger] = logging.getLogger(__name__)
    """The logger for warnings about renamed keys, of the outermost class. Without a handler, Python
    prints them to stderr."""

    @model_validator(mode="before")
    @classmethod
    def _accept_renamed_keys(cls, values: Any) -> Any:
        # pydantic adds a ValueError that is raised here to the problems that it reports.
        return with_current_keys(cls, values) if isinstance(values, Mapping) else values


S = TypeVar("S", bound=Strict)


def load(model: type[S], path: Path | None, overrides: Iterable[str] = ()) -> S:
    """Read a YAML file and apply `dotted.key=value` overrides, in order.

    Without a file, the defaults apply. The values of overrides are YAML: `head.widths=[128,64]`,
    `seed=3`, `backbone.weights=none`.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; the message names all.
    """
    source = str(path) if path else "configuration"
    try:
        # Renamed keys are replaced in each source before the sources are merged. So an override
        # with an old key changes the value of the new key in the file.
        values = with_current_keys(model, _read_yaml(path)) if path else {}
    except _TwoNamesError as error:
        raise ConfigError(f"{source}: {error}") from error
    overridden = {_apply(model, values, override): override for override in overrides}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{_source(source, overridden, problem['loc'])}: {_explain(model, problem)}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error


def parse(model: type[S], values: Mapping[str, Any], source: str = "configuration") -> S:
    """Validate a mapping.

    Raises:
        ConfigError: keys or values are wrong; the message names all of them, after `source`.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, problem) for problem in error.errors()]
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from error


def _source(
    source: str, overridden: Mapping[tuple[str, ...], str], location: Sequence[str | int]
) -> str:
    """Where a wrong value comes from: the override of its key, or else the file."""
    for keys, override in overridden.items():
        # The location also has the value of a discriminator, which is no key.
        parts = iter(map(str, location))
        if all(key in parts for key in keys):
            return f"override {override!r}"
    return source


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """All keys of a configuration, such as `head.epochs`, and their defaults as YAML.

    A key of the entries of a list has brackets: `models[].name`.
    """
    for name, field in model.model_fields.items():
        nested = _models(field)
        is_list = getattr(field.annotation, "__origin__", None) in (tuple, list)
        for inner in nested.values():
            yield from keys(inner, f"{prefix}{name}{'[]' if is_list else ''}.")
        if not nested:
            yield f"{prefix}{name}", _default(field)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    return value if isinstance(value, str) else json.dumps(value, default=str)


class _TwoNamesError(ValueError):
    """A key is given under its old and its new name."""


def with_current_keys(model: type[Strict], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `values` with every renamed key replaced by its new name, at every level.

    Each replacement is logged as a warning that names both keys.

    Raises:
        ValueError: a key is given under its old and its new name.
    """
    return _with_current_keys(model, values, "", model.logger)


def _with_current_keys(
    model: type[Strict], values: Mapping[str, Any], prefix: str, logger: logging.Logger
) -> dict[str, Any]:
    current: dict[str, Any] = {}
    for old, value in values.items():
        new = model.renamed_keys.get(old, old)
        if new != old:
            if new in values:
                raise _TwoNamesError(
                    f"{prefix}{old} and {prefix}{new} are the same key; give only {prefix}{new}"
                )
            logger.warning(
                "The configuration key %s%s is deprecated: use %s%s", prefix, old, prefix, new
            )
        nested = _nested_model(model, new, value)
        inner = f"{prefix}{new}."
        current[new] = _with_current_keys(nested, value, inner, logger) if nested else value
    return current


def _nested_model(model: type[Strict], key: str, value: Any) -> type[Strict] | None:
    """The configuration class of the mapping `value` under `key`, or None."""
    field = model.model_fields.get(key)
    if field is None or not isinstance(value, Mapping):
        return None
    kind = value.get(field.discriminator, "") if isinstance(field.discriminator, str) else ""
    nested = _models(field).get(kind)
    return nested if nested and issubclass(nested, Strict) else None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = strict_yaml.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    # ValueError: the text is not UTF-8.
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _apply(model: type[Strict], values: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one `dotted.key=value` in `values`, and return the current names of its keys."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} is not of the form key=value")
    try:
        tree: Any = strict_yaml.parse(text)
    except YamlError as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML: {error}") from error
    parts = key.split(".")
    if not all(parts):
        raise ConfigError(f"override {override!r}: the key has an empty part")
    for part in reversed(parts):
        tree = {part: tree}
    try:
        tree = with_current_keys(model, tree)
    except _TwoNamesError as error:
        raise ConfigError(f"override {override!r}: {error}") from error
    keys: list[str] = []
    for _ in parts[:-1]:
        ((parent, tree),) = tree.items()
        keys.append(parent)
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value without keys")
        values = child
    values.update(tree)
    return (*keys, *tree)


def _explain(model: type[BaseModel], problem: Any) -> str:
    """Describe a problem from pydantic in one line. A problem of the whole model has no key."""
    location, valid, field = _locate(model, problem["loc"])
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_suggestion(location, valid)}"
    message: str = problem["msg"].removeprefix("Value error, ")
    if not location:
        return message
    if problem["type"] == "missing":
        return f"{key!r} is missing, and has no default"
    # A secret, or what was written in its place, must not get into a log.
    found = f" (found {problem['input']!r})" if field is None or field.repr else ""
    return f"{key!r}: {message}{found}"


def _locate(
    model: type[BaseModel], parts: Iterable[str | int]
) -> tuple[list[str], list[str], FieldInfo | None]:
    """The keys of pydantic's location, the valid keys at the last level, and the last field.

    In a union with a discriminator, pydantic adds the discriminator's value to the location.
    """
    location, valid, fields = [], list[str](), list[FieldInfo]()
    models = {"": model}
    for part in map(str, parts):
        if part in models:
            models = {"": models[part]}
            continue
        location.append(part)
        # The position in a list: the models are those of its entries.
        if part.isdigit():
            continue
        valid = [name for kind in models.values() for name in kind.model_fields]
        fields = [kind.model_fields[part] for kind in models.values() if part in kind.model_fields]
        models = _models(fields[0]) if fields else {}
    return location, valid, fields[0] if fields else None


def _models(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The models of a field's type, by the value of the discriminator; "" for a single model."""
    kinds = [
        kind
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
    if isinstance(field.discriminator, str):
        return {kind.model_fields[field.discriminator].default: kind for kind in kinds}
    return {"": kinds[0]} if kinds else {}


def _suggestion(location: list[str], valid: list[str]) -> str:
    if not valid:
        return ""
    near = difflib.get_close_matches(location[-1], valid, n=1)
    if near:
        return f"; did you mean {'.'.join([*location[:-1], near[0]])!r}?"
    return f"; valid keys: {', '.join(valid)}"
