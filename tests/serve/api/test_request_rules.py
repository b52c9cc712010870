"""Origins, OPTIONS, HEAD, slashes and prefixes: what a request meets before its key is checked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from pintag.serve.api import explanations, request_rules, tags
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.auth.middleware import ApiKeyMiddleware
from pintag.serve.auth.token_bucket import TakeRequest, TakeResponse
from pintag.serve.config import ApiConfig
from tests.serve.conftest import (
    ANSWER,
    EXPLAIN_PATH,
    Client,
    ScriptedExplainer,
    ScriptedTagger,
    posted,
    problem,
)

ORIGIN = "https://shop.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


async def _take(request: TakeRequest) -> TakeResponse:
    raise AssertionError("no client has a key")


def behind_keys(tagger: ScriptedTagger, **settings: Any) -> Client:
    """The API with keys, of which no client has one."""
    app = tags.build(tagger, settings.get("root_path", ""))
    keyed = ApiKeyMiddleware(app, lambda _: None, LocalQuotas(_take), tagger.metrics)
    return Client(request_rules.wrap(keyed, ApiConfig(**settings)))


def open_to_all(tagger: ScriptedTagger, **settings: Any) -> Client:
    app = tags.build(tagger, settings.get("root_path", ""))
    return Client(request_rules.wrap(app, ApiConfig(**settings)))


# Origins


@pytest.mark.parametrize("path", ["/v1/tags", "/v1/tags:batch", "/v1/model", "/v1/tags/"])
@pytest.mark.parametrize("origins", [[ORIGIN], ["https://other.example", ORIGIN], ["*"]])
def test_a_browser_asks_about_an_origin_without_a_key(
    tagger: ScriptedTagger, path: str, origins: list[str]
) -> None:
    client = behind_keys(tagger, cors_origins=origins)
    response = client.request("OPTIONS", path, headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in (ORIGIN, "*")
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert tagger.metrics.errors == {}


def test_an_answer_and_an_error_can_be_read_by_a_page_of_the_origin(
    tagger: ScriptedTagger,
) -> None:
    origin = {"Origin": ORIGIN}
    answer = open_to_all(tagger, cors_origins=[ORIGIN]).post(
        "/v1/tags", content=b"picture", headers=origin
    )
    unauthorized = behind_keys(tagger, cors_origins=[ORIGIN]).post(
        "/v1/tags", content=b"picture", headers=origin
    )
    missing = behind_keys(tagger, cors_origins=[ORIGIN]).get("/nothing", headers=origin)
    for response, status in ((answer, 200), (unauthorized, 401), (missing, 404)):
        assert response.status_code == status
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


def test_explanations_have_the_same_origins(explainer: ScriptedExplainer) -> None:
    app = request_rules.wrap(explanations.build(explainer), ApiConfig(cors_origins=(ORIGIN,)))
    preflight = Client(app).request("OPTIONS", EXPLAIN_PATH, headers=PREFLIGHT)
    answer = Client(app).post(EXPLAIN_PATH, content=b"picture", headers={"Origin": ORIGIN})
    for response in (preflight, answer):
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_another_origin_is_refused_with_a_problem(tagger: ScriptedTagger) -> None:
    client = open_to_all(tagger, cors_origins=[ORIGIN])
    headers = PREFLIGHT | {"Origin": "https://evil.example"}
    response = client.request("OPTIONS", "/v1/tags", headers=headers)
    assert "http.cors_origins" in problem(response, 400).detail
    assert "Access-Control-Allow-Origin" not in response.headers
    answer = client.post("/v1/tags", content=b"x", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "remedy"),
    [
        ({"Access-Control-Request-Method": "DELETE"}, "pages may use GET, HEAD, POST"),
        ({"Access-Control-Request-Headers": "x-evil"}, "pages may send Accept, Content-Type, Auth"),
    ],
)
def test_a_refused_preflight_says_what_is_allowed(
    tagger: ScriptedTagger, headers: dict[str, str], remedy: str
) -> None:
    client = open_to_all(tagger, cors_origins=[ORIGIN])
    response = client.request("OPTIONS", "/v1/tags", headers=PREFLIGHT | headers)
    detail = problem(response, 400).detail
    assert remedy in detail
    assert "http.cors_origins" not in detail


def test_by_default_no_origin_is_allowed(tagger: ScriptedTagger) -> None:
    response = behind_keys(tagger).request("OPTIONS", "/v1/tags", headers=PREFLIGHT)
    assert response.status_code == 204
    assert not [name for name in response.headers if name.startswith("access-control")]


# Methods


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/tags", "OPTIONS, POST"),
        ("/v1/tags:batch", "OPTIONS, POST"),
        ("/v1/model", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/v1/tags/", "OPTIONS, POST"),
    ],
)
def test_options_has_the_methods_of_a_path_and_needs_no_key(
    tagger: ScriptedTagger, path: str, allow: str
) -> None:
    response = behind_keys(tagger).request("OPTIONS", path)
    assert (response.status_code, response.headers["Allow"]) == (204, allow)
    assert response.content == b""


def test_options_of_no_path_is_not_found(tagger: ScriptedTagger) -> None:
    assert problem(behind_keys(tagger).request("OPTIONS", "/v1/nothing"), 404).kind == "not_found"


@pytest.mark.parametrize("path", ["/v1/model", "/openapi.json"])
def test_head_is_get_without_the_body(tagger: ScriptedTagger, path: str) -> None:
    client = open_to_all(tagger)
    got, head = client.get(path), client.request("HEAD", path)
    assert (head.status_code, head.headers) == (200, got.headers)


# Paths


def test_an_endpoint_is_the_same_with_a_slash_at_its_end(
    tagger: ScriptedTagger, explainer: ScriptedExplainer
) -> None:
    client = open_to_all(tagger)
    assert client.post("/v1/tags/?max_tags=3", content=b"picture").json() == ANSWER
    assert client.get("/v1/model/").status_code == 200
    explained = Client(request_rules.wrap(explanations.build(explainer), ApiConfig()))
    assert explained.post(f"{EXPLAIN_PATH}/", content=b"picture").status_code == 200
    assert problem(client.post("/v1/tags//", content=b"picture"), 404)


def test_a_slash_does_not_lead_around_the_keys(tagger: ScriptedTagger) -> None:
    client = behind_keys(tagger, root_path="/pintag")
    for path in ("/v1/tags", "/v1/tags/", "/pintag/v1/tags", "/pintag/v1/tags/"):
        assert problem(client.post(path, content=b"picture"), 401)
    assert tagger.seen == []


@pytest.mark.parametrize("path", ["/docs/", "/openapi.json/"])
def test_a_page_with_a_slash_is_moved_by_a_relative_link(tagger: ScriptedTagger, path: str) -> None:
    response = open_to_all(tagger).get(path)
    assert (response.status_code, response.headers["Location"]) == (308, f"..{path[:-1]}")


@pytest.mark.parametrize("prefix", ["", "/shop/pintag"])
def test_a_proxy_may_remove_the_root_path_or_not(tagger: ScriptedTagger, prefix: str) -> None:
    client = open_to_all(tagger, root_path="/shop/pintag")
    assert client.post(f"{prefix}/v1/tags", content=b"picture").json() == ANSWER
    assert client.get(f"{prefix}/").text == open_to_all(tagger).get("/").text
    document = client.get(f"{prefix}/openapi.json").json()
    assert document["servers"] == [{"url": "/shop/pintag"}]


def test_the_root_path_without_a_slash_is_moved_to_the_page(tagger: ScriptedTagger) -> None:
    response = open_to_all(tagger, root_path="/shop/pintag").get("/shop/pintag")
    assert (response.status_code, response.headers["Location"]) == (308, "pintag/")


@pytest.mark.parametrize("path", ["/shop/pintagger/v1/model", "/shop/v1/model", "/pintag/v1/model"])
def test_another_prefix_is_not_found(tagger: ScriptedTagger, path: str) -> None:
    assert problem(open_to_all(tagger, root_path="/shop/pintag").get(path), 404)


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_the_path_is_found_below_the_route_prefix_of_ray(
    explainer: ScriptedExplainer, method: str
) -> None:
    """Ray Serve sets `root_path` to the route prefix of the application and keeps the path."""
    app = request_rules.wrap(explanations.build(explainer), ApiConfig())

    async def below_prefix(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": EXPLAIN_PATH}, receive, send)

    response = Client(below_prefix).request(method, EXPLAIN_PATH, content=b"picture")
    assert response.status_code == (200 if method == "POST" else 204)


def test_the_routes_stay_visible(tagger: ScriptedTagger) -> None:
    """Ray's metrics take the names of requests from them."""
    app = tags.build(tagger)
    for config in (ApiConfig(), ApiConfig(cors_origins=(ORIGIN,))):
        wrapped = request_rules.wrap(app, config)
        assert wrapped.routes == app.routes  # type: ignore[attr-defined]


def test_a_connection_that_is_no_request_is_passed_on() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    wrapped: ASGIApp = request_rules.wrap(app, ApiConfig())
    asyncio.run(wrapped({**posted("/"), "type": "lifespan"}, receive, send))
    assert seen == ["lifespan"]


# Heads


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/v1/model?a=" + "b" * 8192, {}, "uri_too_long"),
        ("/v1/" + "a" * 8192, {}, "uri_too_long"),
        ("/v1/model", {"Accept": "a" * 8192}, "headers_too_long"),
        ("/v1/model", {f"X-{i}": "a" * 1000 for i in range(9)}, "headers_too_long"),
    ],
    ids=["query", "path", "header", "headers"],
)
def test_a_long_head_is_refused_before_the_key_is_checked(
    tagger: ScriptedTagger, path: str, headers: dict[str, str], kind: str
) -> None:
    status = {"uri_too_long": 414, "headers_too_long": 431}[kind]
    response = behind_keys(tagger).get(path, headers=headers)
    assert problem(response, status).kind == kind


def test_cookies_of_other_pages_of_a_domain_are_not_counted(tagger: ScriptedTagger) -> None:
    headers = {"Cookie": "a" * 30_000}
    assert open_to_all(tagger).get("/v1/model", headers=headers).status_code == 200
