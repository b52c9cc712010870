"""Many images in a request, as multipart or length-prefixed; compared with the bare process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks import wrk
from benchmarks.workload import Workload, of_bare

IMAGES, CLIENTS = 32, 4
_BOUNDARY = "pintag-load-test"


def measure(workload: Workload) -> dict[str, Any]:
    """Images a second, and the ratio to the bare process, by the form of the body."""
    bodies = cycle(workload.bodies)
    groups = [list(islice(bodies, IMAGES)) for _ in range(7)]
    forms = {
        "/v1/tags:batch": ("/v1/tags:batch", "application/octet-stream", _lengths),
        "multipart": ("/v1/tags", f"multipart/form-data; boundary={_BOUNDARY}", _multipart),
    }
    rates: dict[str, list[float]] = {form: [] for form in forms}
    bare = [workload.bare()]
    for _ in range(workload.rounds):
        with workload.serving() as server:
            for form, (path, media, encode) in forms.items():
                files = _files(workload.work_dir, encode, groups)
                _check(f"{server.url}{path}", media, files[0])
                script = wrk.write_script(workload.work_dir / "many.lua", files, path, media)
                wrk.run(server.url, CLIENTS, 3, script)
                rates[form].append(_rate(wrk.run(server.url, CLIENTS, workload.seconds, script)))
        bare.append(workload.bare())
    return {
        "images_in_a_request": IMAGES,
        "clients": CLIENTS,
        "bare": bare,
        "forms": {
            form: {
                "images_per_second": median(values),
                "of_bare": of_bare(values, bare),
            }
            for form, values in rates.items()
        },
    }


def _rate(row: wrk.WrkResult) -> float:
    """Images a second."""
    if row["failed"]:
        raise SystemExit(f"{row['failed']:.0f} requests of many images failed")
    return IMAGES * row["requests_per_second"]


def _check(url: str, media: str, body: Path) -> None:
    """Check that every image of a request is tagged; wrk checks only the status."""
    answer = httpx.post(url, content=body.read_bytes(), headers={"Content-Type": media}, timeout=60)
    entries = answer.json()
    if answer.status_code != 200 or len(entries) != IMAGES or any("tags" not in e for e in entries):
        raise SystemExit(f"{url}: answered {answer.status_code}, {entries}")


def _files(
    folder: Path, encode: Callable[[Sequence[bytes]], bytes], groups: Sequence[Sequence[bytes]]
) -> list[Path]:
    paths = [folder / f"many-{number}" for number in range(len(groups))]
    for path, group in zip(paths, groups, strict=True):
        path.write_bytes(encode(group))
    return paths


def _lengths(group: Sequence[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4) + body for body in group)


def _multipart(group: Sequence[bytes]) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n\r\n'
    )
    parts = [head.encode() + body + b"\r\n" for body in group]
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
