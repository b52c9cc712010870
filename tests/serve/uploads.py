"""Uploads to a running server: one alone, and one during which the server is stopped."""

from __future__ import annotations

import signal
import socket

import httpx

from tests.conftest import HAPROXY, Server, descendants, lives, wait_for
from tests.sockets import until_closed


def post(server: Server, content: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/tags", content=content, timeout=60)


def stop_during_upload(
    server: Server, number: signal.Signals, picture: bytes
) -> tuple[set[str], bytes]:
    """End a server by a signal, while an upload is in progress.

    Returns:
        The names of its processes, all of which have ended, and the answer to the upload.
    """
    # A HAProxy that is being replaced may still take a connection, and it knows no application.
    wait_for(lambda: len(descendants(server.process, HAPROXY)) <= 1, 60, "the old HAProxy's end")
    processes = descendants(server.process)
    names = set(processes.values())
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as client:
        client.sendall(
            b"POST /v1/tags?max_tags=1 HTTP/1.1\r\nHost: pintag\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(picture)
        )
        # The replica asks for the body: the request has reached it.
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(number)
        client.sendall(picture)
        answer = until_closed(client)
    assert server.process.wait(60) == 0, server.log.read_text()
    wait_for(lambda: not any(map(lives, processes)), 20, f"the end of {names}")
    return names, answer
