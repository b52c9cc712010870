"""A client of a HAProxy: it sends any bytes, and checks what every problem has."""

from __future__ import annotations

import socket
from http.client import HTTPResponse

import httpx

from pintag.serve.api.schemas import Problem
from tests.serve.ingress.conftest import Ingress
from tests.serve.ingress.replicas import PROBLEM


def problem(answer: httpx.Response) -> Problem:
    """The problem of an answer, after the checks that hold for all."""
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.headers["X-Request-ID"]
    found = Problem.model_validate_json(answer.text)
    assert found.status == answer.status_code
    return found


def raw(ingress: Ingress, data: bytes) -> httpx.Response:
    """The answer to the bytes of a request."""
    with socket.create_connection(("127.0.0.1", ingress.port), timeout=30) as connection:
        connection.sendall(data)
        return read(connection)


def read(connection: socket.socket) -> httpx.Response:
    """The next answer on a connection."""
    answer = HTTPResponse(connection)
    answer.begin()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
