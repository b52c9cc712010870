"""ETags of explanations (RFC 9110, 8.8.3 and 13.1.2)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pintag.models.identity import Model
from tests.serve.conftest import EXPLAIN_PATH, JSON, PNG, Client, ScriptedExplainer, problem


def etag(explain_client: Client, query: str = "", **options: Any) -> str:
    response = explain_client.post(f"{EXPLAIN_PATH}?{query}", **{"content": b"picture", **options})
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "private, no-cache"
    value: str = response.headers["ETag"]
    assert value[0] == value[-1] == '"'
    return value


def test_equal_requests_have_equal_etags(explain_client: Client) -> None:
    tag = etag(explain_client)
    assert etag(explain_client) == tag
    assert etag(explain_client, "seed=0&mode=reference&num_features=5") == tag
    assert etag(explain_client, headers={"Accept": JSON}) == tag
    assert etag(explain_client, "seed=1&mode=stable") == etag(explain_client, "mode=stable&seed=1")


def test_everything_that_determines_the_answer_changes_the_etag(
    explain_client: Client, explainer: ScriptedExplainer
) -> None:
    tags = [
        etag(explain_client),
        etag(explain_client, content=b"another picture"),
        etag(explain_client, "label=houses"),
        etag(explain_client, "num_features=6"),
        etag(explain_client, "num_samples=5"),
        etag(explain_client, "mode=stable"),
        etag(explain_client, "segmentation=slic"),
        etag(explain_client, "positive_only=true"),
        etag(explain_client, "seed=5"),
        etag(explain_client, headers={"Accept": PNG}),
    ]
    explainer.model = Model(name=explainer.model.name, version="another")
    tags.append(etag(explain_client))
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', '"other",W/{} , "another"', "*"])
def test_an_answer_that_the_client_has_is_not_computed_again(
    explain_client: Client, explainer: ScriptedExplainer, known: str
) -> None:
    header = {"If-None-Match": known.format(etag(explain_client))}
    response = explain_client.post(EXPLAIN_PATH, content=b"picture", headers=header)
    assert problem(response, 412).kind == "precondition_failed"
    assert len(explainer.requests) == 1
    # The client requested this answer: it does not count as an error.
    assert not explainer.metrics.errors


def test_if_none_match_may_come_in_several_lines(explain_client: Client) -> None:
    lines = [("If-None-Match", '"other"'), ("If-None-Match", etag(explain_client))]
    assert (
        explain_client.post(
            EXPLAIN_PATH, content=b"picture", headers=httpx.Headers(lines)
        ).status_code
        == 412
    )


def test_an_answer_that_the_client_does_not_have_is_computed(explain_client: Client) -> None:
    tag = etag(explain_client)
    assert etag(explain_client, "seed=1", headers={"If-None-Match": tag}) != tag
    assert etag(explain_client, headers={"If-None-Match": tag, "Accept": PNG}) != tag
    assert etag(explain_client, headers={"If-None-Match": '"other"'}) == tag


@pytest.mark.parametrize("media_type", [JSON, PNG])
def test_an_answer_of_the_outcome_deadline_is_not_cached(
    explain_client: Client, media_type: str
) -> None:
    response = explain_client.post(
        EXPLAIN_PATH, content=b"cut short", headers={"Accept": media_type}
    )
    assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Accept"
    assert "ETag" not in response.headers
    if media_type == JSON:
        assert (response.json()["outcome"], response.json()["samples"]) == ("deadline", 64)
