"""A replica that tests control: it answers, fails or hangs as the path of a request says."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

PROBLEM = "application/problem+json"


class FakeReplica:
    """An HTTP server on a port; it runs while its block does."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.headers: list[dict[str, str]] = []
        """The headers of each request but health checks, with names in lower case."""
        self.cluster: str | None = None
        """The id of its cluster in its answers; None: the one that the request has."""
        self.misdirected = False
        """Whether it answers 425, as a replica of another cluster."""
        self.hangs = threading.Event()
        """Set while it answers nothing, not even health checks."""
        self.body_timeout_s: float | None = None
        """A body that takes longer gets the 408 of pintag's code; None: it waits."""
        self._server = _Server(("127.0.0.1", port), _handler(self))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hangs.clear()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing when HAProxy closes a connection."""


def _handler(replica: FakeReplica) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._handle()

        def do_POST(self) -> None:
            self._handle()

        def _handle(self) -> None:
            if self.path != "/-/healthz":
                replica.headers.append({n.lower(): v for n, v in self.headers.items()})
            # As a suspended process, which reads no body.
            while replica.hangs.is_set():
                threading.Event().wait(0.05)
            if self._has_body():
                self._answer()
            else:
                self.close_connection = True
                self._send(408, PROBLEM, b'{"detail":"of the replica","kind":"late_body"}')

        def _has_body(self) -> bool:
            """Read the body; whether it arrived in time."""
            left = int(self.headers.get("content-length", 0))
            self.connection.settimeout(replica.body_timeout_s)
            with contextlib.suppress(TimeoutError):
                while left and (part := self.rfile.read1(left)):
                    left -= len(part)
            self.connection.settimeout(None)
            return not left

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing."""

        def _answer(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if url.path == "/-/healthz":
                query = {}
            body = query.get("body", replica.name).encode()
            misdirected = replica.misdirected and url.path != "/-/healthz"
            if "ends" in query:
                self.close_connection = True
                return
            status = 425 if misdirected else int(query.get("status", 200))
            self._send(status, query.get("type", "text/plain"), body)

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            cluster = replica.cluster or self.headers.get("x-pintag-cluster")
            if cluster:
                self.send_header("X-Pintag-Cluster", cluster)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    return Handler
