"""Parameters: one set of rules for queries and forms, for tags and explanations."""

from __future__ import annotations

import pytest

from pintag.explain.request import ExplanationRequest
from pintag.serve.api import parameters
from pintag.serve.api.schemas import TagParameters
from pintag.serve.errors import ParameterError
from tests.serve.conftest import EXPLAIN_PATH, Client, ScriptedExplainer, files, problem


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("maxtags", "max_tags"),
        ("max_tag", "max_tags"),
        ("max-tags", "max_tags"),
        ("maxTags", "max_tags"),
        ("MAX_TAGS", "max_tags"),
        ("minconfidence", "min_confidence"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_it_resembles(name: str, near: str) -> None:
    with pytest.raises(ParameterError) as refused:
        parameters.read(TagParameters, f"{name}=1".encode())
    assert str(refused.value) == f"{name}: there is no such parameter; did you mean {near}?"


def test_a_name_that_resembles_none_is_refused_with_all() -> None:
    with pytest.raises(ParameterError, match=r"^k: .*; there are max_tags, min_confidence$"):
        parameters.read(TagParameters, b"k=1")


def test_a_long_name_is_shortened_in_the_message() -> None:
    with pytest.raises(ParameterError) as refused:
        parameters.read(TagParameters, b"a" * 100_000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("query", [b"max_tags=1&max_tags=1", b"max_tags=1&max%5ftags=2"])
def test_a_parameter_that_is_given_twice_is_refused(query: bytes) -> None:
    with pytest.raises(ParameterError, match=r"^max_tags: it is given more than once"):
        parameters.read(TagParameters, query)


@pytest.mark.parametrize("query", [b"label=%C3%BC%E6%97%A5", "label=ü日".encode()])
def test_a_label_is_read_as_utf_8_with_and_without_escapes(query: bytes) -> None:
    assert parameters.read(ExplanationRequest, query).label == "ü日"


@pytest.mark.parametrize("query", [b"label=%ff", b"label=\xff", b"label=%zz", b"label=a%00b"])
def test_bytes_that_are_no_text_are_a_value_like_any_other(query: bytes) -> None:
    label = parameters.read(ExplanationRequest, query).label
    assert label is not None
    # It can be sent back in a message.
    assert label.encode()


def test_a_form_has_parameters_as_fields(client: Client) -> None:
    form = {"max_tags": "1", "title": "my house", "submit": "Upload"}
    response = client.post("/v1/tags", files=files(b"picture"), data=form)
    assert [tag["label"] for tag in response.json()["tags"]] == ["houses"]


def test_the_fields_of_a_form_complete_the_query(
    explain_client: Client, explainer: ScriptedExplainer
) -> None:
    response = explain_client.post(
        f"{EXPLAIN_PATH}?seed=3",
        files=files(b"picture", name="file"),
        data={"label": "Süße Hunde", "mode": "stable"},
    )
    assert response.status_code == 200
    ((_, request),) = explainer.requests
    assert request == ExplanationRequest(seed=3, label="Süße Hunde", mode="stable")


@pytest.mark.parametrize(
    ("query", "form", "name"),
    [
        ("", {"max_tags": "none"}, "max_tags"),
        ("", {"maxtags": "1"}, "maxtags"),
        ("?max_tags=1", {"max_tags": "2"}, "max_tags"),
    ],
    ids=["invalid", "misspelt", "in the query too"],
)
def test_a_wrong_field_of_a_form_is_named(
    client: Client, query: str, form: dict[str, str], name: str
) -> None:
    response = client.post(f"/v1/tags{query}", files=files(b"picture"), data=form)
    assert problem(response, 422).detail.startswith(f"{name}: ")


@pytest.mark.parametrize("path", ["/v1/tags", "/v1/tags:batch"])
def test_both_endpoints_of_tags_have_the_same_rules(client: Client, path: str) -> None:
    batch = (7).to_bytes(4) + b"picture"
    refusal = problem(client.post(f"{path}?maxtags=1", content=batch), 422)
    assert refusal.detail.endswith("did you mean max_tags?")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"max_tags=none", "max_tags: must be a whole number, such as 3"),
        (b"max_tags=0", "max_tags: must be at least 1"),
        (b"min_confidence=2", "min_confidence: must be at most 1"),
        (b"min_confidence=high", "min_confidence: must be a number, such as 0.5"),
    ],
)
def test_a_wrong_value_is_answered_with_what_to_write(query: bytes, message: str) -> None:
    with pytest.raises(ParameterError) as refused:
        parameters.read(TagParameters, query)
    assert str(refused.value) == message


def test_a_query_has_only_so_many_parameters() -> None:
    with pytest.raises(ParameterError, match="more than 50 parameters"):
        parameters.read(TagParameters, b"max_tags=1&" * 51)
