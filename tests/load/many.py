"""Many images in a request, beside the bare process: multipart, and lengths before images."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle, islice
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from tests.load.setting import Setting, of_bare

IMAGES, CLIENTS = 32, 4
_BOUNDARY = "pintag-load-test"


def measure(setting: Setting) -> dict[str, Any]:
    """Images a second, and what that is of the bare process, by the form of the body."""
    turn = cycle(setting.bodies)
    groups = [list(islice(turn, IMAGES)) for _ in range(7)]
    forms = {
        "/v1/tags:batch": ("/v1/tags:batch", "application/octet-stream", _lengths),
        "multipart": ("/v1/tags", f"multipart/form-data; boundary={_BOUNDARY}", _multipart),
    }
    rates: dict[str, list[float]] = {form: [] for form in forms}
    bare = [setting.bare()]
    for _ in range(setting.rounds):
        with setting.serving() as server:
            for form, (path, media, make) in forms.items():
                bodies = [make(group) for group in groups]
                _rate(server.url, path, media, bodies, 3)
                rates[form].append(_rate(server.url, path, media, bodies, setting.seconds))
        bare.append(setting.bare())
    return {
        "images_in_a_request": IMAGES,
        "clients": CLIENTS,
        "bare": bare,
        "forms": {
            form: {
                "images_per_second": median(found),
                "of_bare": of_bare(found, bare),
            }
            for form, found in rates.items()
        },
    }


def _rate(url: str, path: str, media: str, bodies: Sequence[bytes], seconds: float) -> float:
    """Images a second of several clients, each with one request at a time."""
    parts = urlsplit(url)
    started = time.perf_counter()

    def client(number: int) -> int:
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        done = 0
        with closing(connection):
            for body in islice(cycle(bodies), number, None):
                if time.perf_counter() - started > seconds:
                    return done
                connection.request("POST", path, body, {"Content-Type": media})
                response = connection.getresponse()
                found = json.loads(response.read())
                if response.status != 200 or any("tags" not in each for each in found):
                    raise SystemExit(f"{path}: answered {response.status}, {found}")
                done += len(found)
        return done

    with ThreadPoolExecutor(CLIENTS) as pool:
        done = sum(pool.map(client, range(CLIENTS)))
    return done / (time.perf_counter() - started)


def _lengths(group: Sequence[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4) + body for body in group)


def _multipart(group: Sequence[bytes]) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n'
    )
    parts = [head.encode() + body + b"\r\n" for body in group]
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
