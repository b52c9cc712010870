"""Errors on their way out: every one becomes an RFC 9457 problem, and is counted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pintag.errors import PintagError
from serve import protocol
from serve.protocol import ParameterError, Problem, RefusedError

# Serve's own, which lands in the replica's log file; any other would go to standard error.
log = logging.getLogger("ray.serve")


# By name, as Starlette lets `Exception` past every middleware and raises it again.
_OURS = (PintagError, RefusedError, ParameterError, TimeoutError, ClientDisconnect)


class Counter(Protocol):
    """Who counts errors."""

    def count_error(self, kind: str) -> None: ...


def add(app: FastAPI, metrics: Counter) -> None:
    """Answer the errors of an application's endpoints."""

    async def on_error(request: Request, error: Exception) -> Response:
        return refusal(error, metrics)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"
        said = "there is no such parameter; /docs has those there are" if unknown else first["msg"]
        return await on_error(request, ParameterError(f"{first['loc'][-1]}: {said}"))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        found = protocol.http_problem(error.status_code, _detail(request, error))
        metrics.count_error(found.kind)
        return response(found, error.headers)

    for kind in (*_OURS, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def refusal(error: Exception, metrics: Counter) -> Response:
    """An error on its way out, counted; one of our own making is logged."""
    # Nobody is left to answer: the status is for Ray's metrics, where it means just this.
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    found = protocol.problem(error)
    if found.status == 500:
        log.error("request failed", exc_info=error)
    metrics.count_error(found.kind)
    return response(found, error.headers if isinstance(error, RefusedError) else None)


def response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem on its way out."""
    return Response(
        problem.model_dump_json(), problem.status, headers=headers, media_type=protocol.PROBLEM_TYPE
    )


def _detail(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.url.path}; /docs has what there is"
    return str(error.detail)
