"""Many images in a request, beside the bare process: multipart, and lengths before images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from tests.load import wrk
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
                files = _files(setting.place, make, groups)
                _check(f"{server.url}{path}", media, files[0])
                script = wrk.turns(setting.place / "many.lua", files, path, media)
                wrk.run(server.url, CLIENTS, 3, script)
                rates[form].append(_rate(wrk.run(server.url, CLIENTS, setting.seconds, script)))
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


def _rate(row: wrk.Row) -> float:
    """Images a second."""
    if row["failed"]:
        raise SystemExit(f"{row['failed']:.0f} requests of many images failed")
    return IMAGES * row["requests_per_second"]


def _check(url: str, media: str, body: Path) -> None:
    """That every image of a request is tagged, which wrk does not look at."""
    answer = httpx.post(url, content=body.read_bytes(), headers={"Content-Type": media}, timeout=60)
    found = answer.json()
    if answer.status_code != 200 or len(found) != IMAGES or any("tags" not in e for e in found):
        raise SystemExit(f"{url}: answered {answer.status_code}, {found}")


def _files(
    place: Path, make: Callable[[Sequence[bytes]], bytes], groups: Sequence[Sequence[bytes]]
) -> list[Path]:
    paths = [place / f"many-{number}" for number in range(len(groups))]
    for path, group in zip(paths, groups, strict=True):
        path.write_bytes(make(group))
    return paths


def _lengths(group: Sequence[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4) + body for body in group)


def _multipart(group: Sequence[bytes]) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n'
    )
    parts = [head.encode() + body + b"\r\n" for body in group]
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
