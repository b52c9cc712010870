"""The door: who is let in, how often, and what is said to the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from serve import access, http, keys
from serve.config import AccessConfig
from serve.keys import Key, Keys, Limits
from serve.meter import Allowances, Grant, Meter
from serve.protocol import Problem
from tests.serve.conftest import ANSWER, Client, ScriptedTagger

KEY, LIMITED = keys.create(), keys.create()
KNOWN = Keys(
    keys=(
        Key(name="uploads", sha256=keys.digest(KEY)),
        Key(name="limited", sha256=keys.digest(LIMITED), per_second=0.01, burst=2, per_day=50),
    )
)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def client(tagger: ScriptedTagger) -> Client:
    meter = Meter()

    async def draw(name: str, limits: Limits, most: int) -> Grant:
        return meter.draw(name, limits, most)

    door = access.Door(http.build(tagger), KNOWN.find, Allowances(draw), tagger.metrics)
    return Client(door)


def test_who_has_a_key_is_let_in(client: Client, tagger: ScriptedTagger) -> None:
    response = client.post("/v1/tags", content=b"picture", headers=bearer(KEY))
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert "RateLimit" not in response.headers
    assert tagger.metrics.by_key == {("uploads", "admitted"): 1}


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_known_in_any_case(client: Client, scheme: str) -> None:
    response = client.get("/v1/model", headers={"Authorization": f"{scheme} {KEY}"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer(KEY[:-1]),
        bearer(keys.digest(KEY)),
        bearer("x" * 10_000),
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")],
    ],
    ids=["none", "empty", "cut", "hash", "long", "bare", "basic", "twice"],
)
@pytest.mark.parametrize("path", ["/v1/tags", "/v1/tags:batch"])
def test_who_has_none_is_told_how(
    client: Client, tagger: ScriptedTagger, path: str, headers: dict[str, str]
) -> None:
    response = client.post(path, content=b"picture", headers=headers)
    problem = Problem.model_validate(response.json())
    assert (response.status_code, problem.kind) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="pintag"'
    assert tagger.seen == []
    assert KEY not in response.text


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/page/main.js"])
def test_what_tells_nothing_is_open(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_limit_is_told_and_kept(client: Client, tagger: ScriptedTagger) -> None:
    first, second, third = (client.get("/v1/model", headers=bearer(LIMITED)) for _ in range(3))
    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert first.headers["RateLimit-Policy"] == '"burst";q=2;w=200, "day";q=50;w=86400'
    assert first.headers["RateLimit"].startswith('"burst";r=1;t=100, "day";r=49;t=')
    problem = Problem.model_validate(third.json())
    assert (problem.status, problem.kind) == (429, "rate_limited")
    assert problem.detail == "limited has used its limit; try again in 100 s"
    assert third.headers["Retry-After"] == "100"
    assert third.headers["RateLimit"].startswith('"burst";r=0;')
    assert tagger.metrics.by_key == {("limited", "admitted"): 2, ("limited", "refused"): 1}
    assert tagger.metrics.errors == {"rate_limited": 1}


def test_ones_limit_is_not_anothers(client: Client) -> None:
    for _ in range(3):
        client.get("/v1/model", headers=bearer(LIMITED))
    assert client.get("/v1/model", headers=bearer(KEY)).status_code == 200


def test_without_a_file_of_keys_there_is_no_door(tagger: ScriptedTagger) -> None:
    app = http.build(tagger)
    assert access.guard(app, AccessConfig(), tagger.metrics) is app


def test_with_one_there_is(tagger: ScriptedTagger, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump(KNOWN.model_dump(mode="json", exclude_none=True)))
    app = access.guard(http.build(tagger), AccessConfig(keys=path), tagger.metrics)
    assert Client(app).get("/v1/model").status_code == 401
    assert Client(app).get("/v1/model", headers=bearer(KEY)).status_code == 200
