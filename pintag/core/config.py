"""Typed, strict configuration: YAML files and `key=value` overrides become pydantic models.

An unknown key is an error that names it and the most similar valid key. A key that was renamed or
removed is accepted for one release, with a warning that names what is there instead.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from pintag.core import strict_yaml, wrong_values
from pintag.core.errors import ConfigError
from pintag.core.strict_yaml import YamlError


class Strict(BaseModel):
    """The base class of configurations: immutable, without unknown keys, all numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    renamed_keys: ClassVar[Mapping[str, str]] = {}
    """The keys that were renamed since the last release: the new name of each old name."""
    removed_keys: ClassVar[Mapping[str, str]] = {}
    """The keys that have no effect any more, and what is there instead. They are left out."""
    logger: ClassVar[logging.Logger] = logging.getLogger(__name__)
    """The logger for warnings about such keys, of the outermost class. Without a handler, Python
    prints them to stderr."""

    @model_validator(mode="before")
    @classmethod
    def _accept_renamed_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        # pydantic adds a ValueError that is raised here to the problems that it reports.
        current = with_current_keys(cls, values)
        return {key: _no_number(cls, key, value) for key, value in current.items()}


def _no_number(model: type[BaseModel], key: str, value: Any) -> Any:
    """The value, but `true` as a text where a number is expected: pydantic would read it as 1."""
    if not isinstance(value, bool) or key not in model.model_fields:
        return value
    kinds = set(_kinds(model.model_fields[key].annotation))
    return value if kinds & {bool, str, Any} else str(value).lower()


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, and those of a Literal's values."""
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    else:
        yield annotation
        for part in get_args(annotation):
            yield from _kinds(part)


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
            f"{_source(source, overridden, location)}: {line}"
            for location, line in _explain(model, error)
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
        lines = [f"{source}: {line}" for _, line in _explain(model, error)]
        raise ConfigError("\n".join(lines)) from error


def _source(
    source: str, overridden: Mapping[tuple[str, ...], str], location: Sequence[str | int]
) -> str:
    """Where a wrong value comes from: the override of its key, or else the file."""
    for keys, override in overridden.items():
        # The location also has the value of a discriminator, which is not a key.
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

    Removed keys are left out. Each of both is logged as a warning that says what to use.

    Raises:
        ValueError: a key is given under its old and its new name.
    """
    return _with_current_keys(model, values, "", model.logger)


def _with_current_keys(
    model: type[Strict], values: Mapping[str, Any], prefix: str, logger: logging.Logger
) -> dict[str, Any]:
    current: dict[str, Any] = {}
    for old, value in values.items():
        if reason := model.removed_keys.get(old):
            logger.warning(
                "The configuration key %s%s has no effect: %s; remove it", prefix, old, reason
            )
            continue
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
    if not text.strip():
        empty = f"{key}='\"\"'"
        raise ConfigError(
            f"override {override!r} has no value; write {key}=null for none, {empty} for no text"
        )
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


_Location = tuple[str | int, ...]


def _explain(model: type[BaseModel], error: ValidationError) -> Iterator[tuple[_Location, str]]:
    """Describe each wrong key in one line, with its location. pydantic has one problem for each
    member of a union; they are alternatives for one key."""
    alternatives: dict[tuple[str, ...], list[Any]] = {}
    for problem in error.errors(include_url=False):
        key = (*_locate(model, problem["loc"])[0], problem["type"] == "extra_forbidden")
        alternatives.setdefault(tuple(map(str, key)), []).append(problem)
    for problems in alternatives.values():
        yield problems[0]["loc"], _line(model, problems)


def _line(model: type[BaseModel], problems: Sequence[Any]) -> str:
    """Describe the problems of one key in one line. A problem of the whole model has no key."""
    problem = problems[0]
    location, valid, field = _locate(model, problem["loc"])
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_suggestion(location, valid)}"
    message = ", or ".join(dict.fromkeys(map(wrong_values.sentence, problems)))
    if not location:
        return message
    if problem["type"] == "missing":
        return f"{key!r} is missing, and has no default"
    value = problem["input"]
    # A secret, or what was written in its place, must not get into a log. A record may have one.
    is_record = isinstance(value, Mapping) and problem["type"] == "value_error"
    if is_record or (field is not None and not field.repr):
        return f"{key!r}: {message}"
    return f"{key!r}: {message} (found {value!r})"


def _locate(
    model: type[BaseModel], parts: Iterable[str | int]
) -> tuple[list[str], list[str], FieldInfo | None]:
    """The keys of pydantic's location, the valid keys at the last level, and the last field.

    pydantic adds to the location the discriminator's value, or the name of a union's member.
    """
    location, valid, fields = [], list[str](), list[FieldInfo]()
    models = {"": model}
    members = False
    for part in map(str, parts):
        if part in models:
            models = {"": models[part]}
            continue
        if members:
            continue
        location.append(part)
        # The position in a list: the models are those of its entries.
        if part.isdigit():
            continue
        valid = [name for kind in models.values() for name in kind.model_fields]
        fields = [kind.model_fields[part] for kind in models.values() if part in kind.model_fields]
        models = _models(fields[0]) if fields else {}
        members = bool(fields) and _has_members(fields[0])
    return location, valid, fields[0] if fields else None


def _has_members(field: FieldInfo) -> bool:
    """Whether a field's type is a union of several types without a discriminator."""
    kinds = {*get_args(field.annotation)} - {type(None)}
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return is_union and len(kinds) > 1 and field.discriminator is None


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
