"""ASGI middleware around Ray's own code: what Ray itself answers becomes a problem.

Ray puts it around its proxies, before any code of its own
(`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`). There the headers that Ray obeys or decodes are still
a client's, and Ray's answers are plain text, with words about deployments and workers.

Only a server without HAProxy needs it: HAProxy's rules do the same (`ingress/answers.py`,
`ingress/headers.py`, `ingress/refusals.py`, `ingress/limits.py`).
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pintag.serve.api import clients, error_handlers, request_rules, schemas
from pintag.serve.api.schemas import Problem
from pintag.serve.errors import RETRY_AFTER_S, LateBodyError, OverloadedError
from pintag.serve.ingress import answers, cors, problems, refusals
from pintag.serve.ingress.clients import HEADER
from pintag.serve.ingress.headers import RAYS_HEADERS
from pintag.serve.observability.logs import log

# A client must not change Ray's time limit, keep its own request running after it has left, choose
# the replica, or choose its name. pintag's deadlines are settings.
_IGNORED = frozenset(name.encode() for name in (*RAYS_HEADERS, HEADER))
# Ray decodes these as UTF-8, and fails if they are not.
_DECODED = frozenset({b"x-request-id", b"traceparent", b"tracestate"})
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,256}")
_OWN_PATHS = "/-/"
_NO_WEBSOCKETS = schemas.http_problem(HTTPStatus.BAD_REQUEST, refusals.NO_WEBSOCKETS)


def middlewares() -> list[Middleware]:
    """The middleware, as Ray expects it, with the settings of `environment.variables`."""
    return [
        Middleware(
            RayAnswers,
            root_path=os.environ.get("PINTAG_ROOT_PATH", ""),
            cors_origins=tuple(os.environ.get("PINTAG_CORS_ORIGINS", "").split()),
            body_timeout_s=float(os.environ.get("PINTAG_BODY_TIMEOUT_S", "inf")),
            answer_timeout_s=float(os.environ.get("PINTAG_ANSWER_TIMEOUT_S", "inf")),
        )
    ]


class RayAnswers:
    """Hides Ray's headers from clients, turns Ray's errors into problems, and ends every wait."""

    def __init__(
        self,
        app: ASGIApp,
        root_path: str = "",
        body_timeout_s: float = math.inf,
        answer_timeout_s: float = math.inf,
        cors_origins: Sequence[str] = (),
    ) -> None:
        """Wrap Ray's application.

        Args:
            cors_origins: the origins whose pages may read the problems; `*`: all.
            body_timeout_s: seconds within which the whole body arrives.
            answer_timeout_s: seconds after the body within which the answer begins and ends.
        """
        self._app, self._root_path = app, root_path
        self._cors_origins = cors_origins
        self._timeouts = body_timeout_s, answer_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "websocket":
            # Otherwise the HTTP server would refuse it, without a body.
            await error_handlers.problem_response(_NO_WEBSOCKETS)(scope, receive, send)
            return
        # Ray reads the answers of Ray's health checks.
        if scope["type"] != "http" or scope["path"].startswith(_OWN_PATHS):
            await self._app(scope, receive, send)
            return
        scope["headers"] = [
            *(item for item in scope["headers"] if _is_passed(*item)),
            (HEADER.encode(), _address(scope).encode()),
        ]
        # Ray's proxy chooses the application by the path.
        if self._root_path:
            scope["path"] = request_rules.without(scope["path"], self._root_path)
        allowed = cors.headers(self._cors_origins, Headers(scope=scope).get("origin", ""))
        answer, request = _Answer(send, allowed), _Request(receive, *self._timeouts)
        try:
            await self._app(scope, request.receive, answer.send)
        except Exception as error:
            if answer.has_started:
                raise
            log.error("request failed", exc_info=error)
        except asyncio.CancelledError:
            # Ray raises it after its own answer, too.
            await answer.finish(scope, receive)
            raise
        if not answer.has_started:
            answer.fail(request.late or RuntimeError())
        await answer.finish(scope, receive)


def _address(scope: Scope) -> str:
    """The address of the client, as HAProxy's rules write it."""
    address: tuple[str, int] | None = scope.get("client")
    return clients.network(address[0]) if address else ""


def _is_passed(name: bytes, value: bytes) -> bool:
    if name in _IGNORED:
        return False
    return name not in _DECODED or _PRINTABLE.fullmatch(value) is not None


class _Answer:
    """Passes an answer on, unless it is one of Ray's own errors."""

    def __init__(self, send: Send, added: Mapping[str, str]) -> None:
        """Send an answer; a problem gets the headers `added`."""
        self._send, self._added = send, added
        self._problem: Problem | None = None
        self._headers: dict[str, str] = {}
        self.has_started = False

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        if message["type"] == "http.response.start":
            self.has_started = True
            status = message["status"]
            # Not 499, which no client receives: Ray counts the clients that disconnect by it.
            if status >= HTTPStatus.BAD_REQUEST and status in iter(HTTPStatus):
                headers = Headers(raw=message.get("headers", []))
                if headers.get("content-type", "text/plain").startswith("text/plain"):
                    self.replace(status, headers)
        if self._problem is None:
            await self._send(message)

    def fail(self, error: Exception) -> None:
        """Answer with the problem of an error."""
        self._headers = dict(getattr(error, "headers", {}))
        self._problem = schemas.problem(error)

    def replace(self, status: int, headers: Headers | None = None) -> None:
        """Answer with a problem of this status instead."""
        kept = ("retry-after", "x-request-id")
        self._headers = {name: headers[name] for name in kept if headers and name in headers}
        self._problem = _problem(status)
        if self._problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._headers.setdefault("retry-after", str(RETRY_AFTER_S))

    async def finish(self, scope: Scope, receive: Receive) -> None:
        """Send the problem, if there is one."""
        problem, self._problem = self._problem, None
        if problem is not None:
            response = error_handlers.problem_response(problem, {**self._headers, **self._added})
            await response(scope, receive, self._send)


class _Request:
    """Passes a request on, until its body or its answer is late.

    Ray's own `request_timeout_s` begins with the head: it would end slow uploads, too.
    """

    def __init__(self, receive: Receive, body_timeout_s: float, answer_timeout_s: float) -> None:
        self._receive, self._answer_timeout_s = receive, answer_timeout_s
        self._end = asyncio.get_running_loop().time() + body_timeout_s
        self._has_body = False
        self.late: Exception | None = None

    async def receive(self) -> Message:
        """The next message; when it is late, that the client has left: Ray then cancels its work.

        Ray always waits for the next message, whether or not a replica asks for one.
        """
        try:
            async with asyncio.timeout_at(self._end if self._end < math.inf else None):
                message = await self._receive()
        except TimeoutError:
            self.late = (
                TimeoutError(answers.LATE)
                if self._has_body
                else LateBodyError("the body did not arrive in time")
            )
            return {"type": "http.disconnect"}
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._has_body = True
            self._end = asyncio.get_running_loop().time() + self._answer_timeout_s
        return message


def _problem(status: int) -> Problem:
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return schemas.problem(OverloadedError("no replica can take the request; try again"))
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return schemas.problem(TimeoutError(answers.LATE))
    if status == HTTPStatus.NOT_FOUND:
        return Problem.model_validate(problems.members(*answers.NOT_RUNNING))
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return schemas.http_problem(status, HTTPStatus(status).description or "refused")
    return schemas.problem(RuntimeError())
