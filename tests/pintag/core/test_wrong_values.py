"""What is wrong with a value is described in our own words, for every field of every model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pintag.core import config, wrong_values
from pintag.core.config import Strict
from pintag.core.errors import ConfigError
from pintag.data.labels import Labels
from pintag.explain import explanation
from pintag.models import manifest, optimize
from pintag.report import results
from pintag.serve.api.schemas import TagParameters
from pintag.serve.auth import api_keys
from pintag.serve.auth.api_keys import ApiKeyList
from pintag.serve.config import HttpConfig, ServeConfig
from pintag.train.study import plan

# Importing a module defines its models.
IMPORTED = (Labels, explanation, manifest, optimize, results, api_keys, ServeConfig, plan)
# Parts of the sentences that pydantic has.
PYDANTIC = re.compile(r"Input should|should (be|have|match)|pattern|valid (string|integer|tuple)")
WRONG: list[Any] = [
    object(), "a b\n", "", None, True, -1, -1e30, 1e30, 0.5, float("nan"), "9" * 5000, "0000",
    b"\xff", [], [object()], [1] * 100, {}, {"a": object()}, {object(): 1}, {"int8": 3},
    {"algorithm": "none"}, 2026,
]  # fmt: skip


def models(base: type[BaseModel] = Strict) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("pintag."):
            yield model
        yield from models(model)


def problems(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """The problems of all wrong values in all fields."""
    for name in model.model_fields:
        for value in WRONG:
            try:
                model.model_validate({name: value})
            except ValidationError as error:
                for problem in error.errors(include_url=False):
                    if problem["type"] not in ("missing", "extra_forbidden"):
                        yield dict(problem)


@pytest.mark.parametrize("model", sorted({*models(), TagParameters}, key=str))
def test_no_message_is_that_of_pydantic(model: type[BaseModel]) -> None:
    texts = {(problem["type"], wrong_values.sentence(problem)) for problem in problems(model)}
    assert texts
    assert [kind for kind, text in texts if text == wrong_values.FALLBACK] == []
    assert [text for _, text in texts if PYDANTIC.search(text)] == []


def refusal(model: type[Strict], key: str, value: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        config.parse(model, {key: value})
    return str(refused.value).removeprefix("configuration: ")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cors_origins", "https://shop.example", "must be a list; write [https://shop.example]"),
        ("cors_origins", "*", 'must be a list; write ["*"]'),
        ("cors_origins", {}, "must be a list, such as [a, b]"),
        ("port", "many", "must be a whole number, such as 3"),
        ("port", 70000, "must be at most 65535"),
        ("host", 3, 'must be a text; in YAML a number, a date or true needs quotes, such as "3"'),
        ("haproxy", "perhaps", "must be true or false, or must be 'auto'"),
        (
            "root_path",
            "pintag/",
            "must be a path that begins with a slash and does not end with one, such as /pintag",
        ),
    ],
)
def test_a_message_says_what_to_write(key: str, value: Any, message: str) -> None:
    assert refusal(HttpConfig, key, value) == f"{key!r}: {message} (found {value!r})"


def test_an_entry_of_a_list_is_named() -> None:
    line = refusal(HttpConfig, "cors_origins", ["https://a.example", "shop.example/x"])
    assert line.startswith("'cors_origins.1': must be a scheme and a host without a path")


def test_a_secret_is_not_in_the_message() -> None:
    line = refusal(ApiKeyList, "keys", [{"name": "shop", "sha256": "secret"}])
    assert line == "'keys.0.sha256': must be a SHA-256, 64 hexadecimal digits"


def test_a_text_that_ends_with_a_line_end_does_not_match() -> None:
    line = refusal(ApiKeyList, "keys", [{"name": "shop\n", "sha256": "0" * 64}])
    assert line.startswith("'keys.0.name': must be 1 to 64 letters")
