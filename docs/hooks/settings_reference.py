"""The settings page: every key of every configuration, from the pydantic models."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pintag.models.optimize import OptimizeConfig
from pintag.serve.config import ServeConfig
from pintag.train.config import TrainConfig
from pintag.train.study.plan import StudyConfig

_INTRODUCTION = """# Settings

A configuration is a YAML file. Every key can be overridden on the command line:
`pintag train configs/train/mobilenet.yaml --data folder --out runs/pins seed=3`. An unknown key is
an error. The message names the key and the most similar known key. This page is generated from the
code.
"""

_CONFIGURATIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "Server": ("`pintag serve`; examples in `configs/serve`", ServeConfig),
    "Training": ("`pintag train`; examples in `configs/train`", TrainConfig),
    "Study": ("`pintag study`; examples in `configs/study`", StudyConfig),
    "Optimization": ("`pintag optimize`", OptimizeConfig),
}

# As in YAML; other types have their own names.
_NAMES = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}


def page() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION]
    for title, (used_by, model) in _CONFIGURATIONS.items():
        parts += [f"## {title}\n", f"Used by {used_by}.\n", *_tables(model)]
    return "\n".join(parts)


def _tables(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A table of the model's own keys, then tables of the models inside it."""
    nested = []
    rows = ["| key | type | default | description |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = _model_of(field.annotation)
        if inner is None:
            rows.append(_row(key, field, _docstrings(model).get(name, "")))
        elif not _shown_elsewhere(inner):
            nested.append((f"{key}{'[]' if _is_list(field.annotation) else ''}.", inner))
        else:
            rows.append(f"| `{key}` | | | The keys of [{inner.__name__}](#training). |")
    if prefix:
        yield f"### `{prefix.rstrip('.')}`\n"
        yield f"{inspect.getdoc(model)}\n"
    if len(rows) > 2:
        yield "\n".join(rows) + "\n"
    for inner_prefix, inner in nested:
        yield from _tables(inner, inner_prefix)


def _shown_elsewhere(model: type[BaseModel]) -> bool:
    return model is TrainConfig


def _row(key: str, field: FieldInfo, docstring: str) -> str:
    description = " ".join((field.description or docstring).split())
    cells = [f"`{key}`", f"`{_type(field)}`", _default(field), description]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _type(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if hasattr(limit, name)
    ]
    return ", ".join([_type_name(field.annotation), *limits])


def _type_name(annotation: object) -> str:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_name, arguments))
    if origin in (tuple, list):
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"a {_type_name(arguments[1])} for each name"
    if annotation is type(None):
        return "null"
    return _NAMES.get(annotation) or getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, tuple):
        default = [each.model_dump() if isinstance(each, BaseModel) else each for each in default]
    return f"`{'null' if default is None else default}`"


def _model_of(annotation: object) -> type[BaseModel] | None:
    """The model of a field, or None if the field is a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [model for each in typing.get_args(annotation) if (model := _model_of(each))]
    return found[0] if len(found) == 1 else None


def _is_list(annotation: object) -> bool:
    return typing.get_origin(annotation) in (tuple, list)


@cache
def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The string below each attribute of the model and its bases; a subclass overrides its base."""
    docstrings: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            docstrings |= _own_docstrings(each)
    return docstrings


def _own_docstrings(model: type[BaseModel]) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0].body
    return {
        statement.target.id: following.value.value
        for statement, following in itertools.pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
