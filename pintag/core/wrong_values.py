"""Says what is wrong with a value and what to write instead, in place of pydantic's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import AfterValidator

FALLBACK = "must have another form"
"""The sentence for a kind of error that the table does not have."""

_WHOLE = "must be a whole number, such as 3"
_NUMBER = "must be a number, such as 0.5"
_TEXT = 'must be a text; in YAML a number, a date or true needs quotes, such as "3"'
_KEYS = "must be keys with values, such as {{key: value}}"
_TIME = "must be a date with a time, such as 2026-01-31T12:00:00Z"

# By pydantic's name of the error. A bound in braces is one of its context.
_SENTENCES: Mapping[str, str] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "datetime_from_date_parsing": _TIME,
    "datetime_parsing": _TIME,
    "datetime_type": _TIME,
    "dict_type": _KEYS,
    "finite_number": "must be a finite number, such as 0.5",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "must be a whole number with fewer digits",
    "int_type": _WHOLE,
    "invalid_key": "a key must be a text; in YAML a number needs quotes",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_attributes_type": _KEYS,
    "model_type": _KEYS,
    "none_required": "must be null",
    "path_type": "must be the path of a file or a folder",
    "string_type": _TEXT,
    "string_unicode": "must be a text in UTF-8",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "must have the key {discriminator}",
}
_LISTS = ("list_type", "tuple_type")


def sentence(problem: Mapping[str, Any]) -> str:
    """What is wrong with the value of a problem of pydantic, without the name of its key.

    Args:
        problem: an entry of `ValidationError.errors()`, with its context and its input.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        # Written by us, in a validator.
        return str(context["error"])
    if kind in _LISTS:
        return _list(problem["input"])
    bounds = {name: _plain(value) for name, value in context.items()}
    return _SENTENCES.get(kind, FALLBACK).format_map(bounds)


def matching(pattern: str, must: str) -> AfterValidator:
    """A constraint of a text for `Annotated`, with its own sentence.

    Args:
        pattern: a regular expression for the whole text.
        must: the message for other texts, such as "must be a name without spaces".
    """
    find: Callable[[str], re.Match[str] | None] = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if find(text) is None:
            raise ValueError(must)
        return text

    return AfterValidator(check)


def _plain(value: Any) -> Any:
    """pydantic has the bounds of a float field as floats: 0.0 for 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _list(value: Any) -> str:
    # The usual mistake: one entry without the brackets.
    if not isinstance(value, str | int | float):
        return "must be a list, such as [a, b]"
    entry = value if re.fullmatch(r"[\w./:-]+", str(value)) else json.dumps(value)
    return f"must be a list; write [{entry}]"
