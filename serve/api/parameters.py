"""The parameters of a request, from its query and from the fields of a form, by the same rules."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from pintag.core import wrong_values
from pintag.serve.errors import ParameterError

P = TypeVar("P", bound=BaseModel)
Field = tuple[str, str]
_MAX_ECHO = 60
# More than there are. Reading thousands of them takes milliseconds.
_MAX_PAIRS = 50


def read(model: type[P], query: bytes, fields: Sequence[Field] = ()) -> P:
    """The parameters in a query string and in the fields of a form.

    A field of a form that is not a parameter, and resembles none, is ignored: pages send fields of
    their own. In a query every name has to be a parameter.

    Raises:
        ParameterError: a value is invalid, a name is unknown, or a parameter is given twice.
    """
    own = [field for field in fields if field[0] in model.model_fields or _near(model, field[0])]
    return _parse(model, [*_pairs(query), *own]) if own else _read_query(model, query)


def document(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The parameters as OpenAPI describes them, in the query."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.get("description", ""),
            "schema": schema,
        }
        for name, schema in schemas(model).items()
    ]


def schemas(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The JSON schema of each parameter, by its name."""
    properties: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return properties


# Cached because programs send the same query with every image. Errors are not cached.
@functools.lru_cache(maxsize=64)
def _read_query(model: type[P], query: bytes) -> P:
    return _parse(model, _pairs(query))


def _pairs(query: bytes) -> list[Field]:
    """The names and values in a query; bytes that are not UTF-8 become U+FFFD, as in browsers."""
    text = query.decode("utf-8", "replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_PAIRS)
    except ValueError as error:
        raise ParameterError(f"the query has more than {_MAX_PAIRS} parameters") from error


def _parse(model: type[P], pairs: Iterable[Field]) -> P:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in model.model_fields:
            raise _unknown(model, name)
        if name in values:
            raise ParameterError(f"{name}: it is given more than once; give one value")
        values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ParameterError(f"{problem['loc'][-1]}: {wrong_values.sentence(problem)}") from error


def _unknown(model: type[BaseModel], name: str) -> ParameterError:
    near = _near(model, name)
    known = ", ".join(model.model_fields)
    hint = f"did you mean {near}?" if near else f"there are {known}"
    shown = name if len(name) <= _MAX_ECHO else f"{name[:_MAX_ECHO]}…"
    return ParameterError(f"{shown}: there is no such parameter; {hint}")


def _near(model: type[BaseModel], name: str) -> str | None:
    """The parameter that a name resembles: `maxtags`, `max-tags` and `maxTag` resemble max_tags."""
    # The comparison takes quadratic time.
    if len(name) > _MAX_ECHO:
        return None
    near = difflib.get_close_matches(name.lower(), model.model_fields, n=1, cutoff=0.75)
    return near[0] if near else None
