"""A client of a pintag server: it uploads images one by one and retries if the queue is full."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

from pintag.core.errors import ImageError, ServerError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_TIMEOUT_S = 60.0
# Requests until a 503 or 429 is reported, and the longest wait between two of them.
_ATTEMPTS = 5
_MAX_WAIT_S = 10.0
# Status codes for an error of one image; other images may succeed.
_IMAGE_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_BAD_PARAMETER = "bad_parameter"
_RETRY = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
# The environment variable with the API key. It is not a command-line option, because other users
# of the machine can see the options of a running command.
KEY = "PINTAG_KEY"
_NO_KEY = f"the server requires an API key: set it in the environment variable {KEY}"
_NOT_A_KEY = (
    f"the environment variable {KEY} is not an API key: a key has only letters, digits and _; "
    "copy it again, without spaces or quotes"
)
_INVALID_KEY = f"the API key in {KEY} is not valid: it is mistyped, or was replaced or revoked"


class Client:
    """Posts images to one path of a server."""

    def __init__(self, http: httpx.Client, path: str) -> None:
        self._http = http
        self._path = path

    def post(self, data: bytes, parse: Callable[[Any], T]) -> T:
        """Upload an image and return the result of `parse` for the JSON of the response.

        If the queue is full or the rate limit is exceeded, it waits and tries again.

        Raises:
            ImageError: the server refuses the image.
            ServerError: the server cannot be reached, returns an error, or is not a pintag server
                (`parse` raised a ValueError, KeyError or TypeError).
        """
        response = self._post_with_retries(data)
        try:
            content = response.json()
            if response.is_success:
                return parse(content)
            problem = f"{content['status']} {content['title']}: {content['detail']}"
            kind = content.get("kind")
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(
                f"{self._http.base_url}: status {response.status_code}, but the response is not"
                " from a pintag server; check the URL"
            ) from error
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            problem = _INVALID_KEY if "Authorization" in self._http.headers else _NO_KEY
        if response.status_code in _IMAGE_ERRORS and kind != _BAD_PARAMETER:
            raise ImageError(problem)
        raise ServerError(f"{self._http.base_url}: {problem}")

    def _post_with_retries(self, data: bytes) -> httpx.Response:
        import httpx

        headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._http.post(self._path, content=data, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ServerError(
                    f"{self._http.base_url}: no response: {error}; does `pintag serve` run there?"
                ) from error
            if response.status_code not in _RETRY or attempt == _ATTEMPTS:
                break
            sleep(_wait_s(response.headers.get("Retry-After", "")))
        return response


@contextmanager
def connect(url: str, path: str, query: Mapping[str, Any]) -> Iterator[Client]:
    """Yield a client for one path of the server at `url`, with a fixed query.

    If the environment variable PINTAG_KEY is set, its value is sent as the API key.

    Raises:
        ServerError: the URL is invalid, or the key is one that no header can have.
    """
    import httpx

    headers = _authorization(os.environ.get(KEY, ""))
    try:
        http = httpx.Client(base_url=url, params=query, headers=headers, timeout=_TIMEOUT_S)
    except httpx.InvalidURL as error:
        raise ServerError(f"{url}: not the URL of a server: {error}") from error
    if http.base_url.scheme not in ("http", "https"):
        raise ServerError(f"{url}: not the URL of a server; begin with http:// or https://")
    if not http.base_url.host:
        raise ServerError(f"{url}: not the URL of a server; write http://HOST:PORT")
    with http:
        yield Client(http, path)


def _authorization(key: str) -> dict[str, str]:
    """The header with a key, without the line end of a file. No message may have the key itself."""
    key = key.strip()
    if not all("!" <= character <= "~" for character in key):
        raise ServerError(_NOT_A_KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _wait_s(retry_after: str) -> float:
    """Seconds to wait for a `Retry-After` header, at most 10; 1 if it is a date or missing."""
    return min(float(retry_after), _MAX_WAIT_S) if retry_after.isdecimal() else 1.0
