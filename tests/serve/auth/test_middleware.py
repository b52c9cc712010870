"""The API key middleware: which requests it admits, and how it answers the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.types import ASGIApp

from pintag.serve.api import explanations, tags
from pintag.serve.api.schemas import Problem
from pintag.serve.auth import api_keys, middleware
from pintag.serve.auth.api_keys import ApiKey, ApiKeyList
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.middleware import ApiKeyMiddleware
from pintag.serve.auth.token_bucket import RateLimiter, TakeRequest, TakeResponse
from pintag.serve.config import AccessConfig
from pintag.serve.errors import RateLimiterUnavailableError
from tests.serve.conftest import (
    ANSWER,
    EXPLAIN_PATH,
    Client,
    ScriptedExplainer,
    ScriptedTagger,
    files,
    problem,
)

KEY, LIMITED, DAILY = (api_keys.create() for _ in range(3))
KEYS = ApiKeyList(
    keys=(
        ApiKey(name="uploads", sha256=api_keys.digest(KEY)),
        ApiKey(
            name="limited", sha256=api_keys.digest(LIMITED), per_second=0.01, burst=2, per_day=50
        ),
        ApiKey(name="small", sha256=api_keys.digest(DAILY), per_second=9, per_day=2),
    )
)
HOLDERS = {key.sha256: key.holder(0.0) for key in KEYS.keys}
BATCH = b"\0\0\0\1a"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def protected(app: ASGIApp, tagger: ScriptedTagger | ScriptedExplainer, **options: bool) -> Client:
    """The application with keys and a rate limiter in this process."""
    limiter = RateLimiter()

    async def take(request: TakeRequest) -> TakeResponse:
        return limiter.take(request)

    return Client(with_limiter(app, tagger, LocalQuotas(take, **options)))


def with_limiter(
    app: ASGIApp, tagger: ScriptedTagger | ScriptedExplainer, quotas: LocalQuotas
) -> ASGIApp:
    find = lambda token: HOLDERS.get(api_keys.digest(token))  # noqa: E731
    return ApiKeyMiddleware(app, find, quotas, tagger.metrics)


@pytest.fixture
def client(tagger: ScriptedTagger) -> Client:
    return protected(tags.build(tagger), tagger)


def test_a_request_with_a_valid_key_is_admitted(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", content=b"picture", headers=bearer(KEY))
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert "RateLimit" not in response.headers
    assert tagger.metrics.by_key == {("uploads", "admitted"): 1}


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(client: Client, scheme: str) -> None:
    response = client.get("/v1/model", headers={"Authorization": f"{scheme} {KEY}"})
    assert response.status_code == 200


NONE = "this server requires an API key"
WRONG = "the API key is not valid: it is mistyped, or was replaced or revoked"


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, NONE),
        (bearer(""), "the Authorization header has no API key"),
        (bearer("x" * 10_000), "the Authorization header has no API key"),
        ({"Authorization": KEY}, "the Authorization header has no API key"),
        ({"Authorization": f"Basic {KEY}"}, "the Authorization header has no API key"),
        ([("Authorization", f"Bearer {KEY}")] * 2, "the request has several Authorization headers"),
        (bearer(KEY[:-1]), WRONG),
        (bearer(api_keys.digest(KEY)), WRONG),
    ],
    ids=["none", "empty", "long", "bare", "basic", "twice", "cut", "hash"],
)
@pytest.mark.parametrize("path", ["/v1/tags", "/v1/tags:batch"])
def test_a_request_without_a_valid_key_is_refused(
    client: Client, tagger: ScriptedTagger, path: str, headers: dict[str, str], detail: str
) -> None:
    response = client.post(path, content=b"picture", headers=headers)
    answer = Problem.model_validate(response.json())
    assert (response.status_code, answer.kind) == (401, "unauthorized")
    assert answer.detail.startswith(detail)
    # RFC 6750, section 3.1: without a key there is no error code.
    error = ', error="invalid_token"' if detail == WRONG else ""
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="pintag"{error}'
    assert tagger.seen == []
    assert KEY not in response.text
    assert tagger.metrics.by_key == {}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/page/main.js"])
def test_pages_and_documentation_need_no_key(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_limit_is_enforced_and_reported(client: Client, tagger: ScriptedTagger) -> None:
    first, second, third = (client.get("/v1/model", headers=bearer(LIMITED)) for _ in range(3))
    assert [response.status_code for response in (first, second, third)] == [200, 200, 429]
    assert first.headers["RateLimit-Policy"] == '"burst";q=2;w=200, "day";q=50;w=86400'
    assert first.headers["RateLimit"].startswith('"burst";r=1;t=100, "day";r=49;t=')
    refused = problem(third, 429)
    assert refused.kind == "rate_limited"
    assert refused.detail == "limited has reached its rate limit; try again in 100 s"
    assert third.headers["Retry-After"] == "100"
    assert third.headers["RateLimit"].startswith('"burst";r=0;')
    assert tagger.metrics.by_key == {("limited", "admitted"): 2, ("limited", "refused"): 1}
    assert tagger.metrics.errors == {"rate_limited": 1}


def test_the_daily_limit_is_named(client: Client) -> None:
    daily = re.compile(r"small has reached its daily limit; try again in \d+ s, after midnight UTC")
    statuses = [client.get("/v1/model", headers=bearer(DAILY)).status_code for _ in range(2)]
    assert statuses == [200, 200]
    refused = problem(client.get("/v1/model", headers=bearer(DAILY)), 429)
    assert daily.fullmatch(refused.detail)


def test_each_key_has_its_own_limit(client: Client) -> None:
    for _ in range(3):
        client.get("/v1/model", headers=bearer(LIMITED))
    assert client.get("/v1/model", headers=bearer(KEY)).status_code == 200


Send = Callable[[Client, int, str], httpx.Response]


def send_batch(client: Client, images: int, key: str) -> httpx.Response:
    return client.post("/v1/tags:batch", content=BATCH * images, headers=bearer(key))


def send_multipart(client: Client, images: int, key: str) -> httpx.Response:
    return client.post("/v1/tags", files=files(*[b"a"] * images), headers=bearer(key))


@pytest.mark.parametrize("send", [send_batch, send_multipart])
def test_a_limit_counts_images(client: Client, tagger: ScriptedTagger, send: Send) -> None:
    two = send(client, 2, LIMITED)
    assert two.status_code == 200
    assert two.headers["RateLimit"].startswith('"burst";r=0;t=200, "day";r=48;t=')
    assert client.get("/v1/model", headers=bearer(LIMITED)).status_code == 429
    assert tagger.seen == [b"a"] * 2
    assert send(client, 3, KEY).status_code == 200


def test_images_that_exceed_the_limit_now_are_refused_before_inference(
    client: Client, tagger: ScriptedTagger
) -> None:
    client.get("/v1/model", headers=bearer(LIMITED))
    response = send_batch(client, 2, LIMITED)
    refused = problem(response, 429)
    assert refused.detail.startswith("limited has reached its rate limit for 2 images; try again")
    # One image was counted with the head of the request: then the bucket is full again.
    assert response.headers["Retry-After"] == "200"
    assert response.headers["RateLimit"].startswith('"burst";r=0;t=200, "day";r=48;t=')
    assert tagger.seen == []
    assert tagger.metrics.by_key == {("limited", "admitted"): 1, ("limited", "refused"): 1}


def test_more_images_than_a_limit_ever_admits_are_refused_for_good(client: Client) -> None:
    response = send_batch(client, 3, LIMITED)
    refused = problem(response, 413)
    assert refused.kind == "too_many_images"
    assert refused.detail == (
        "the request has 3 images, and the limits of limited admit at most 2 at once; "
        "send several requests"
    )
    assert "Retry-After" not in response.headers


def test_an_explanation_counts_as_one_image(explainer: ScriptedExplainer) -> None:
    client = protected(explanations.build(explainer), explainer)
    responses = [
        client.post(EXPLAIN_PATH, content=b"picture", headers=bearer(LIMITED)) for _ in range(3)
    ]
    assert [response.status_code for response in responses] == [200, 200, 429]


@pytest.mark.parametrize("fail_open", [False, True])
def test_without_the_rate_limiter_limited_keys_are_refused_or_admitted(
    tagger: ScriptedTagger, fail_open: bool
) -> None:
    async def take(request: TakeRequest) -> TakeResponse:
        raise RateLimiterUnavailableError("the server cannot check the limits; try again")

    quotas = LocalQuotas(take, fail_open)
    client = Client(with_limiter(tags.build(tagger), tagger, quotas))
    assert client.get("/v1/model", headers=bearer(KEY)).status_code == 200
    response = send_batch(client, 2, LIMITED)
    assert "RateLimit" not in response.headers
    if fail_open:
        assert response.status_code == 200
        assert tagger.metrics.by_key["limited", "admitted"] == 1
    else:
        assert problem(response, 503).kind == "rate_limiter_unavailable"
        assert response.headers["Retry-After"] == "1"
        assert tagger.metrics.by_key["limited", "unavailable"] == 1
        assert tagger.seen == []


def test_without_a_file_of_keys_the_application_is_unchanged(tagger: ScriptedTagger) -> None:
    app = tags.build(tagger)
    assert middleware.require_api_key(app, AccessConfig(), tagger.metrics) is app


def test_with_a_file_of_keys_a_key_is_required(tagger: ScriptedTagger, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump(KEYS.model_dump(mode="json", exclude_none=True)))
    app = middleware.require_api_key(tags.build(tagger), AccessConfig(keys=path), tagger.metrics)
    assert Client(app).get("/v1/model").status_code == 401
    assert Client(app).get("/v1/model", headers=bearer(KEY)).status_code == 200
