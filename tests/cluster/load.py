"""Uploads at a constant rate, each with its outcome; a pod of the cluster runs this file.

It prints `ready` after the first answer, and stops when the file /tmp/stop exists. Then it prints
one line of JSON: the number of uploads, those that failed with their reasons, the seconds since the
first upload was due, and the seconds that they took; and the longest of all.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

URL, RATE = os.environ.get("SERVER", "") + "/v1/tags", float(os.environ.get("RATE", "20"))
# Pictures that no cache has, and that take no time to make.
_SUFFIXES = itertools.count()


def picture() -> bytes:
    content = io.BytesIO()
    Image.effect_mandelbrot((320, 240), (-3, -2.5, 2, 2.5), 100).save(content, "JPEG")
    return content.getvalue()


def upload(image: bytes) -> tuple[str, float]:
    """The outcome of one upload, and its seconds."""
    begin = time.monotonic()
    body = image + next(_SUFFIXES).to_bytes(8)
    try:
        with urllib.request.urlopen(urllib.request.Request(URL, body), timeout=60) as answer:
            answer.read()
            outcome = "" if answer.status == 200 else str(answer.status)
    except urllib.error.HTTPError as error:
        outcome = f"{error.code} {error.read(300).decode(errors='replace')}"
    except OSError as error:
        outcome = f"{type(error).__name__}: {error}"
    return outcome, time.monotonic() - begin


def main() -> None:
    image, outcomes, lock = picture(), [], threading.Lock()
    begin = time.monotonic()

    def record() -> None:
        outcome = (*upload(image), time.monotonic() - begin)
        with lock:
            outcomes.append(outcome)
            if len(outcomes) == 1:
                print("ready", flush=True)

    with ThreadPoolExecutor(64) as pool:
        for number in itertools.count():
            if Path("/tmp/stop").exists():
                break
            time.sleep(max(0, begin + number / RATE - time.monotonic()))
            pool.submit(record)
    failed = [
        (outcome, round(at, 1), round(seconds, 2)) for outcome, seconds, at in outcomes if outcome
    ]
    slowest = max(seconds for _, seconds, _ in outcomes)
    print(json.dumps({"sent": len(outcomes), "failed": failed, "slowest_s": round(slowest, 2)}))


if __name__ == "__main__":
    main()
