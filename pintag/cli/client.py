"""A client of a pintag server: one upload at a time, patient with a full queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pintag.errors import ImageError, ServerError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_TIMEOUT_SECONDS = 60.0
# How often a full queue is asked before its 503 is reported, and how long it is waited for at most.
_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 10.0
# What a server says of one image, and not of every request like this one.
_ABOUT_THE_IMAGE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_BAD_PARAMETER = "bad_parameter"
_LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
# No option of the command: every user of a machine sees those.
KEY = "PINTAG_KEY"


class Client:
    """Posts images to one path of a server."""

    def __init__(self, http: httpx.Client, path: str) -> None:
        self._http = http
        self._path = path

    def post(self, data: bytes, parse: Callable[[Any], T]) -> T:
        """What `parse` makes of the JSON that answers an image.

        A full queue is waited for, and a limit of the key's.

        Raises:
            ImageError: the server refuses the image.
            ServerError: it is not there, is in trouble, refuses every image, or is none of pintag:
                `parse` raised a ValueError, KeyError or TypeError.
        """
        response = self._patiently(data)
        try:
            content = response.json()
            if response.is_success:
                return parse(content)
            problem = f"{content['status']} {content['title']}: {content['detail']}"
            kind = content.get("kind")
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(
                f"{self._http.base_url}: status {response.status_code}, not an answer of pintag"
            ) from error
        if response.status_code in _ABOUT_THE_IMAGE and kind != _BAD_PARAMETER:
            raise ImageError(problem)
        raise ServerError(f"{self._http.base_url}: {problem}")

    def _patiently(self, data: bytes) -> httpx.Response:
        import httpx

        headers = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._http.post(self._path, content=data, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ServerError(f"{self._http.base_url}: no answer: {error}") from error
            if response.status_code not in _LATER or attempt == _ATTEMPTS:
                break
            time.sleep(_wait_seconds(response.headers.get("Retry-After", "")))
        return response


@contextmanager
def connect(url: str, path: str, query: Mapping[str, Any]) -> Iterator[Client]:
    """A client that posts to `path` of the server at `url`, always with this query.

    It brings the key that `PINTAG_KEY` has.

    Raises:
        ServerError: that is no address of a server.
    """
    import httpx

    try:
        key = os.environ.get(KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        http = httpx.Client(base_url=url, params=query, headers=headers, timeout=_TIMEOUT_SECONDS)
    except httpx.InvalidURL as error:
        raise ServerError(f"{url}: no address of a server: {error}") from error
    if http.base_url.scheme not in ("http", "https"):
        raise ServerError(f"{url}: no address of a server; begin with http://")
    with http:
        yield Client(http, path)


def _wait_seconds(retry_after: str) -> float:
    """What a server asks for, within bounds; one second when it is a date, or nothing."""
    return min(float(retry_after), _LONGEST_WAIT_SECONDS) if retry_after.isdecimal() else 1.0
