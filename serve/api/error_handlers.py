"""Turns every error into an RFC 9457 problem response, and counts it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from pintag.core.errors import PintagError
from pintag.serve.api import schemas
from pintag.serve.api.schemas import Problem
from pintag.serve.errors import MalformedBodyError, ParameterError, RefusedError
from pintag.serve.observability.logs import log

# Listed one by one: after a handler for `Exception` has answered, Starlette raises the error again.
_EXPECTED = (
    PintagError, RefusedError, ParameterError, MalformedBodyError, TimeoutError, ClientDisconnect,
)  # fmt: skip
# nginx's status for "client closed request". No client receives it; Ray's metrics count it.
_CLIENT_CLOSED_REQUEST = 499
_MAX_ECHO = 200


class ErrorCounter(Protocol):
    """Counts errors by kind."""

    def count_error(self, kind: str) -> None: ...


def add(app: FastAPI, metrics: ErrorCounter) -> None:
    """Make an application answer every error of its endpoints with a problem."""

    async def on_error(request: Request, error: Exception) -> Response:
        return error_response(error, metrics)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = schemas.http_problem(error.status_code, _detail(request, error))
        metrics.count_error(problem.kind)
        return problem_response(problem, error.headers)

    for kind in (*_EXPECTED, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(HTTPException, on_http)


def error_response(error: Exception, metrics: ErrorCounter) -> Response:
    """The response to an error. Counts it, and logs it if it is a fault of the server."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    problem = schemas.problem(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request failed", exc_info=error)
    elif problem.status == HTTPStatus.GATEWAY_TIMEOUT:
        log.warning("request failed: %s", problem.detail)
    metrics.count_error(problem.kind)
    return problem_response(problem, error.headers if isinstance(error, RefusedError) else None)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as a response."""
    return Response(
        problem.model_dump_json(), problem.status, headers=headers, media_type=schemas.PROBLEM_TYPE
    )


def nothing_at(scope: Scope) -> str:
    """The message for a path that does not exist."""
    # Not from the URL of the request: that raises an error if the Host header is nonsense.
    return f"there is nothing at {scope['path'][:_MAX_ECHO]}; /docs lists the API's paths"


def _detail(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return nothing_at(request.scope)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and error.headers:
        method = request.method[:_MAX_ECHO]
        return f"{method} is not a method of this path; use {error.headers['Allow']}"
    return str(error.detail)
