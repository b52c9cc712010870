"""Headers of requests: each has an id, and none controls Ray or breaks it."""

from __future__ import annotations

import httpx
import pytest

from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.conftest import Start

pytestmark = pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")

SETTINGS = IngressSettings(host="127.0.0.1")


@pytest.mark.parametrize("name", ["x-request-timeout-seconds", "X-Request-Disconnect-Disabled",
                                  "x-session-id", "serve_multiplexed_model_id",
                                  "serve-multiplexed-model-id"])  # fmt: skip
def test_headers_that_control_ray_do_not_reach_it(start: Start, name: str) -> None:
    with start(SETTINGS) as ingress:
        for value in (b"1", b"\xff\xfe"):
            headers = [(name.encode(), value), (b"X-Mine", b"kept")]
            assert httpx.post(f"{ingress.url}/v1/tags", headers=headers).status_code == 200
        received = [
            header for replica in ingress.replicas.values() for header in replica.headers
        ]  # fmt: skip
    assert len(received) == 2
    assert all(header["x-mine"] == "kept" and name.lower() not in header for header in received)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(b"mine", True), (b"my own id", True), (b"\xc3\xa9", False), (b"\xff", False), (b"", False),
     (b"x" * 257, False), (None, False)],
)  # fmt: skip
def test_a_request_id_that_is_not_printable_is_replaced(
    start: Start, sent: bytes | None, kept: bool
) -> None:
    with start(SETTINGS) as ingress:
        headers = [] if sent is None else [(b"X-Request-ID", sent)]
        answer = httpx.post(f"{ingress.url}/v1/tags?status=500", headers=headers)
        [received] = [
            header["x-request-id"]
            for replica in ingress.replicas.values()
            for header in replica.headers
        ]
    assert answer.headers["X-Request-ID"] == received
    assert (received.encode() == sent) == kept
    assert len(received) == 36 or kept


def test_traces_are_passed_on_unless_ray_cannot_decode_them(start: Start) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with start(SETTINGS) as ingress:
        for value in (trace.encode(), b"\xff"):
            httpx.post(f"{ingress.url}/v1/tags", headers=[(b"traceparent", value)])
        found = [
            header.get("traceparent")
            for replica in ingress.replicas.values()
            for header in replica.headers
        ]
    assert found in ([trace, None], [None, trace])
