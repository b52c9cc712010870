"""The HTTP face over an explainer that does what the bytes say: parameters, answers, departures."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from serve import explanations
from serve.explanations import Question
from serve.protocol import Model, Problem
from tests.serve.conftest import (
    EXPLANATION,
    IMAGES,
    PICTURE,
    REFUSALS,
    Client,
    ScriptedExplainer,
    drive,
    files,
    posted,
    problem,
)

PATH = "/v1/explanations"
JSON, PNG = "application/json", "image/png"


@pytest.fixture
def explainer() -> ScriptedExplainer:
    return ScriptedExplainer()


@pytest.fixture
def why(explainer: ScriptedExplainer) -> Client:
    return Client(explanations.build(explainer))


def whole(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": False}


LEFT: Message = {"type": "http.disconnect"}

# Parameters


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", {}),
        ("label=food", {"label": "food"}),
        ("num_features=3", {"num_features": 3}),
        ("num_features=1000", {"num_features": 1000}),
        ("num_samples=2", {"num_samples": 2}),
        ("mode=stable", {"mode": "stable"}),
        ("mode=reference", {"mode": "reference"}),
        ("segmentation=slic", {"segmentation": "slic"}),
        ("segmentation=felzenszwalb", {"segmentation": "felzenszwalb"}),
        ("positive_only=true", {"positive_only": True}),
        ("seed=4294967295", {"seed": 4294967295}),
        ("label=house%20boats%26more", {"label": "house boats&more"}),
        ("seed=1&mode=stable&num_samples=65", {"seed": 1, "mode": "stable", "num_samples": 65}),
    ],
)
def test_the_explainer_is_asked_what_the_query_says(
    why: Client, explainer: ScriptedExplainer, query: str, asked: dict[str, Any]
) -> None:
    assert why.post(f"{PATH}?{query}", content=b"picture").status_code == 200
    defaults = {
        "label": None,
        "num_features": 5,
        "num_samples": None,
        "mode": "reference",
        "segmentation": "quickshift",
        "positive_only": False,
        "seed": 0,
    }
    ((image, question),) = explainer.asked
    assert (image, question.model_dump()) == (b"picture", defaults | asked)


@pytest.mark.parametrize(
    "query",
    [
        "num_features=0",
        "num_features=1001",
        "num_features=many",
        "num_features=",
        "num_samples=1",
        "num_samples=-5",
        "num_samples=1.5",
        "num_samples=1e3",
        "num_samples=" + "9" * 5000,
        "mode=plain",
        "mode=",
        "segmentation=watershed",
        "positive_only=perhaps",
        "seed=-1",
        "seed=4294967296",
        "seed=%ff",
        "colour=red",
        "max_tags=5",
        "Label=food",
    ],
    ids=lambda query: query[:20],
)
def test_a_bad_or_unknown_parameter_is_named(
    why: Client, explainer: ScriptedExplainer, query: str
) -> None:
    found = problem(why.post(f"{PATH}?{query}", content=b"picture"), 422)
    assert found.kind == "bad_parameter"
    assert found.detail.startswith(f"{query.partition('=')[0]}: ")
    assert explainer.asked == []
    assert explainer.metrics.errors == {"bad_parameter": 1}


def test_an_unknown_parameter_is_refused_in_plain_words(why: Client) -> None:
    found = problem(why.post(f"{PATH}?num_feature=3", content=b"picture"), 422)
    assert found.detail == "num_feature: there is no such parameter; /docs has those there are"


# Answers


def test_an_answer_is_json_unless_a_picture_is_asked_for(
    why: Client, explainer: ScriptedExplainer
) -> None:
    response = why.post(PATH, content=b"picture")
    assert (response.status_code, response.headers["Content-Type"]) == (200, JSON)
    assert response.json() == EXPLANATION.model_dump(mode="json")
    assert explainer.drawn == []
    assert (explainer.metrics.requests, explainer.metrics.errors) == (1, {})


def test_a_picture_is_drawn_from_the_same_answer(why: Client, explainer: ScriptedExplainer) -> None:
    response = why.post(f"{PATH}?seed=3", content=b"picture", headers={"Accept": PNG})
    assert (response.status_code, response.headers["Content-Type"]) == (200, PNG)
    assert response.content == PICTURE
    assert explainer.drawn == [(b"picture", Question(seed=3))]
    assert explainer.metrics.requests == 1


def test_one_multipart_file_is_explained_as_a_raw_body_is(
    why: Client, explainer: ScriptedExplainer
) -> None:
    raw, form = why.post(PATH, content=b"picture"), why.post(PATH, files=files(b"picture"))
    assert (form.status_code, form.content) == (200, raw.content)
    assert form.headers["ETag"] == raw.headers["ETag"]
    assert [image for image, _ in explainer.asked] == [b"picture"] * 2


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", JSON),
        ("", JSON),
        (JSON, JSON),
        (PNG, PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("application/*", JSON),
        ("text/html, image/png;q=0.1", PNG),
        # What a browser sends for a picture.
        ("image/avif,image/webp,image/png,image/*;q=0.8,*/*;q=0.5", PNG),
        # By quality, and JSON where it is equal.
        ("image/png, application/json", JSON),
        ("image/png, application/json;q=0.9", PNG),
        ("application/json;q=0.1, image/png;q=0.2", PNG),
        ("application/json ; q=0.1 , image/png ; Q=0.2", PNG),
        ("image/png;q=0.5, */*", JSON),
        ("*/*;q=0.9, image/png", PNG),
        # The more specific range decides, though another has a higher quality.
        ("image/*, image/png;q=0.1, application/json;q=0.2", JSON),
        ("*/*, application/json;q=0", PNG),
        ("*/*, image/*;q=0", JSON),
        ("*/*;q=0.1, image/*;q=0.2, application/json;q=0.3", JSON),
        # A quality that is none wishes for nothing.
        ("image/png;q=high, application/json;q=0.1", JSON),
        ("image/png;q=nan, application/json;q=0.1", JSON),
        ("image/png;q=5, application/json;q=0.1", JSON),
    ],
)
def test_the_client_chooses_the_media_type(why: Client, accept: str, media_type: str) -> None:
    response = why.post(PATH, content=b"picture", headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)
    assert response.headers["Vary"] == "Accept"


def test_a_choice_may_come_in_several_lines(why: Client) -> None:
    lines = [("Accept", "text/html"), ("Accept", PNG)]
    response = why.post(PATH, content=b"picture", headers=httpx.Headers(lines))
    assert response.headers["Content-Type"] == PNG


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/jpeg",
        "application/problem+json",
        "image/png;q=0",
        "*/*;q=0",
        "image/png;q=0, application/json;q=0, */*",
        "image/png;q=nan",
        "nonsense",
    ],
)
def test_who_takes_neither_is_told_which_there_are(
    why: Client, explainer: ScriptedExplainer, accept: str
) -> None:
    response = why.post(PATH, content=b"picture", headers={"Accept": accept})
    found = problem(response, 406)
    assert found.kind == "not_acceptable"
    assert JSON in found.detail
    assert PNG in found.detail
    assert explainer.asked == []
    assert explainer.metrics.errors == {"not_acceptable": 1}


# Caching (RFC 9110, 8.8.3 and 13.1.2)


def etag(why: Client, query: str = "", **options: Any) -> str:
    response = why.post(f"{PATH}?{query}", **{"content": b"picture", **options})
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "private, no-cache"
    found: str = response.headers["ETag"]
    assert found[0] == found[-1] == '"'
    return found


def test_equal_requests_have_equal_tags_however_they_are_put(why: Client) -> None:
    tag = etag(why)
    assert etag(why) == tag
    assert etag(why, "seed=0&mode=reference&num_features=5") == tag
    assert etag(why, headers={"Accept": JSON}) == tag
    assert etag(why, "seed=1&mode=stable") == etag(why, "mode=stable&seed=1")


def test_whatever_decides_the_answer_changes_the_tag(
    why: Client, explainer: ScriptedExplainer
) -> None:
    tags = [
        etag(why),
        etag(why, content=b"another picture"),
        etag(why, "label=houses"),
        etag(why, "num_features=6"),
        etag(why, "num_samples=5"),
        etag(why, "mode=stable"),
        etag(why, "segmentation=slic"),
        etag(why, "positive_only=true"),
        etag(why, "seed=5"),
        etag(why, headers={"Accept": PNG}),
    ]
    explainer.model = Model(name=explainer.model.name, version="another")
    tags.append(etag(why))
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', '"other",W/{} , "another"'])
def test_an_answer_that_the_client_has_is_not_made_again(
    why: Client, explainer: ScriptedExplainer, known: str
) -> None:
    header = {"If-None-Match": known.format(etag(why))}
    response = why.post(PATH, content=b"picture", headers=header)
    assert problem(response, 412).kind == "precondition_failed"
    assert len(explainer.asked) == 1
    # Just what was asked for.
    assert not explainer.metrics.errors


def test_what_the_client_has_may_come_in_several_lines(why: Client) -> None:
    lines = [("If-None-Match", '"other"'), ("If-None-Match", etag(why))]
    assert why.post(PATH, content=b"picture", headers=httpx.Headers(lines)).status_code == 412


def test_another_answer_than_the_client_has_is_made(why: Client) -> None:
    tag = etag(why)
    assert etag(why, "seed=1", headers={"If-None-Match": tag}) != tag
    assert etag(why, headers={"If-None-Match": tag, "Accept": PNG}) != tag
    assert etag(why, headers={"If-None-Match": '"other"'}) == tag


@pytest.mark.parametrize("media_type", [JSON, PNG])
def test_an_answer_cut_short_is_not_kept_by_anybody(why: Client, media_type: str) -> None:
    response = why.post(PATH, content=b"cut short", headers={"Accept": media_type})
    assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Accept"
    assert "ETag" not in response.headers
    if media_type == JSON:
        assert (response.json()["outcome"], response.json()["samples"]) == ("deadline", 64)


# Problems


@pytest.mark.parametrize(
    ("image", "status", "kind", "retry_after"),
    [
        (b"corrupt", 400, "not_an_image", None),
        (b"huge", 413, "too_large", None),
        (b"tiff", 415, "unsupported_format", None),
        (b"no such label", 422, "bad_parameter", None),
        (b"too fine", 422, "cannot_explain", None),
        (b"too many", 503, "overloaded", "7"),
    ],
)
@pytest.mark.parametrize("media_type", [JSON, PNG])
def test_what_the_explainer_refuses_is_a_problem_in_its_words(
    why: Client,
    explainer: ScriptedExplainer,
    image: bytes,
    status: int,
    kind: str,
    retry_after: str | None,
    media_type: str,
) -> None:
    response = why.post(PATH, content=image, headers={"Accept": media_type})
    found = problem(response, status)
    assert (found.kind, found.detail) == (kind, str(REFUSALS[image]))
    assert response.headers.get("Retry-After") == retry_after
    assert "ETag" not in response.headers
    assert explainer.metrics.errors == {kind: 1}
    assert explainer.metrics.requests == 1


def test_an_error_of_the_server_is_logged_and_not_told(
    why: Client, explainer: ScriptedExplainer, logged: list[logging.LogRecord]
) -> None:
    response = why.post(PATH, content=b"bug")
    assert problem(response, 500).kind == "internal"
    assert "secret" not in response.text
    assert explainer.metrics.errors == {"internal": 1}
    (record,) = logged
    assert record.exc_info
    assert record.exc_info[1] is REFUSALS[b"bug"]


@pytest.mark.parametrize(
    ("upload", "status", "kind"),
    [
        ({"content": b"x" * (IMAGES.max_bytes + 1)}, 413, "too_large"),
        ({"files": files(b"one", b"two")}, 400, "bad_request"),
        ({"files": files(b"one", name="picture")}, 422, "bad_parameter"),
        ({"data": {"image": "text"}, "files": files(b"one", name="other")}, 422, "bad_parameter"),
    ],
    ids=["too long", "several", "another field", "text"],
)
def test_what_is_not_one_image_is_refused(
    why: Client, explainer: ScriptedExplainer, upload: dict[str, Any], status: int, kind: str
) -> None:
    assert problem(why.post(PATH, **upload), status).kind == kind
    assert explainer.asked == []
    assert explainer.metrics.errors == {kind: 1}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_answered(why: Client, method: str) -> None:
    response = why.request(method, PATH)
    assert problem(response, 405).kind == "method_not_allowed"
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/v1/tags", f"{PATH}/docs"])
def test_nothing_else_is_here(why: Client, path: str) -> None:
    assert problem(why.post(path, content=b"picture"), 404).kind == "not_found"


def test_the_path_is_found_where_ray_mounts_it(explainer: ScriptedExplainer) -> None:
    """Ray Serve sets `root_path` to the application's prefix, and leaves the path whole."""
    app = explanations.build(explainer)
    start, body = drive(app, [whole(b"picture")], path=PATH, root_path=PATH)
    # Without an Accept header it is JSON.
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, JSON.encode())
    assert body["body"] == EXPLANATION.model_dump_json().encode()


# Departures


@dataclass
class Call:
    """A request by hand, to be cut off at any moment; made within a running loop."""

    app: FastAPI
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.handler = asyncio.ensure_future(
            self.app(posted(PATH), self.inbox.get, self._send)  # type: ignore[arg-type]
        )

    def says(self, *messages: Message) -> None:
        for message in messages:
            self.inbox.put_nowait(message)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


async def until_idle(explainer: ScriptedExplainer) -> None:
    """Wait for the explainer's work to end; it never does by itself."""
    while explainer.at_work:
        await asyncio.sleep(0)


async def until_at_work(explainer: ScriptedExplainer) -> None:
    while not explainer.at_work:
        await asyncio.sleep(0)


@pytest.mark.parametrize("together", [False, True], ids=["at work", "before"])
def test_a_client_that_leaves_stops_its_explanation(
    explainer: ScriptedExplainer, logged: list[logging.LogRecord], together: bool
) -> None:
    """While the explainer works, or as soon as everything is said."""

    async def leave() -> list[Message]:
        call = Call(explanations.build(explainer))
        call.says(whole(b"endless"), *([LEFT] if together else []))
        async with asyncio.timeout(20):
            if not together:
                await until_at_work(explainer)
                call.says(LEFT)
            await call.handler
            await until_idle(explainer)
        return call.sent

    # The status is read by Ray's metrics alone.
    assert asyncio.run(leave())[0]["status"] == 499
    assert explainer.metrics.requests == 1
    assert explainer.metrics.errors == {}
    assert logged == []


def test_a_client_that_leaves_mid_upload_asks_nothing(explainer: ScriptedExplainer) -> None:
    part: Message = {"type": "http.request", "body": b"end", "more_body": True}
    (start, _) = drive(explanations.build(explainer), [part, LEFT], path=PATH)
    assert start["status"] == 499
    assert explainer.asked == []
    assert explainer.metrics.errors == {}


def test_a_handler_that_is_cancelled_stops_the_work(explainer: ScriptedExplainer) -> None:
    """So Ray Serve does, when it sees the client leave before we do."""

    async def cancel() -> list[Message]:
        call = Call(explanations.build(explainer))
        call.says(whole(b"endless"))
        async with asyncio.timeout(20):
            await until_at_work(explainer)
            call.handler.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call.handler
            await until_idle(explainer)
        return call.sent

    assert asyncio.run(cancel()) == []
    assert explainer.metrics.requests == 1


def test_a_client_that_stays_is_answered_once(explainer: ScriptedExplainer) -> None:
    async def stay() -> list[Message]:
        call = Call(explanations.build(explainer))
        call.says(whole(b"picture"))
        async with asyncio.timeout(20):
            await call.handler
        call.says(LEFT)
        await asyncio.sleep(0)
        return call.sent

    start, body = asyncio.run(stay())
    assert (start["status"], body["body"]) == (200, EXPLANATION.model_dump_json().encode())


# The document, which is the classifier's


@pytest.fixture
def operation(client: Client) -> Any:
    return client.get("/openapi.json").json()["paths"][PATH]["post"]


def test_the_openapi_document_shows_each_parameter_with_its_default(operation: Any) -> None:
    shown = {each["name"]: each["schema"].get("default") for each in operation["parameters"]}
    assert shown == Question().model_dump()
    assert {each["in"] for each in operation["parameters"]} == {"query"}
    choices = {each["name"]: each["schema"].get("enum") for each in operation["parameters"]}
    assert choices["mode"] == ["reference", "stable"]
    assert choices["segmentation"] == ["quickshift", "slic", "felzenszwalb"]


def test_the_openapi_document_shows_both_answers_and_the_body(operation: Any) -> None:
    content = operation["responses"]["200"]["content"]
    assert set(content) == {JSON, PNG}
    assert content[JSON]["schema"] == {"$ref": "#/components/schemas/ExplanationAnswer"}
    assert operation["requestBody"]["required"]
    assert {"image/jpeg", "multipart/form-data"} <= set(operation["requestBody"]["content"])


def test_the_openapi_document_shows_every_problem_by_an_example(operation: Any) -> None:
    problems = {k: v["content"] for k, v in operation["responses"].items() if k != "200"}
    assert {"400", "406", "412", "413", "415", "422", "503"} <= set(problems)
    for status, content in problems.items():
        assert list(content) == ["application/problem+json"]
        example = content["application/problem+json"]["example"]
        assert Problem.model_validate(example).status == int(status)
