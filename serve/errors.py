"""Errors of the server. `pintag.serve.api.schemas` maps each to an HTTP status and a problem."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RETRY_AFTER_S = 1


class RefusedError(Exception):
    """The server refuses a request; the response has additional headers."""

    headers: Mapping[str, str] = MappingProxyType({})


class RetryLaterError(RefusedError):
    """The client should try again later."""

    def __init__(self, message: str, retry_after: int = RETRY_AFTER_S) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after)}


class OverloadedError(RetryLaterError):
    """The queue is full."""


class RateLimitedError(RetryLaterError):
    """The client has reached the rate limit of its key."""


class RateLimiterUnavailableError(RetryLaterError):
    """The rate limiter does not answer, so nobody knows whether the key's limits are reached."""


class TooManyImagesError(RefusedError):
    """A request has more images than the limits of its key can ever admit at once."""


class UnauthorizedError(RefusedError):
    """The request has no API key."""

    headers: Mapping[str, str] = MappingProxyType({"WWW-Authenticate": 'Bearer realm="pintag"'})


class InvalidKeyError(UnauthorizedError):
    """The API key of the request is not valid."""

    # RFC 6750, section 3: the error code distinguishes a wrong key from none.
    headers: Mapping[str, str] = MappingProxyType(
        {"WWW-Authenticate": 'Bearer realm="pintag", error="invalid_token"'}
    )


class LateBodyError(RefusedError, TimeoutError):
    """The body of a request did not arrive in time."""

    # Otherwise the client would keep its connection, and go on sending.
    headers: Mapping[str, str] = MappingProxyType({"Connection": "close"})


class ParameterError(Exception):
    """A parameter of a request is invalid."""


class LongUriError(Exception):
    """The path and the query of a request are too long."""


class LongHeadersError(Exception):
    """The headers of a request are too long."""


class MalformedBodyError(Exception):
    """The body of a request breaks the rules of its format."""


class EncodingError(RefusedError):
    """The body has a content encoding that is not accepted."""

    # RFC 9110, 15.5.16
    headers: Mapping[str, str] = MappingProxyType({"Accept-Encoding": "gzip, identity"})
