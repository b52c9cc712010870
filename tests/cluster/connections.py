"""Uploads over connections that are kept, each idle for up to 40 s; a pod of the cluster runs this.

It prints `ready` after the first answer, and stops when the file /tmp/stop exists. Then it prints
one line of JSON: the number of uploads, of connections that the server closed while they were idle,
and the failures with their reasons.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import select
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

COUNT, IDLE_S = 50, 40
HOST, PORT = urlsplit(os.environ.get("SERVER", "")).hostname, 8000
SIZE = int(os.environ.get("SIZE", "160"))

sent = closed = 0
failed: list[str] = []


def picture(size: int) -> bytes:
    """Noise, which takes one byte for each pixel or two."""
    content = io.BytesIO()
    Image.effect_noise((size, size), 80).convert("RGB").save(content, "JPEG", quality=95)
    return content.getvalue()


def is_closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed it, as clients look before they send."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])


def uploads(image: bytes, chance: random.Random) -> None:
    global sent, closed
    connection = http.client.HTTPConnection(str(HOST), PORT, timeout=60)
    while not Path("/tmp/stop").exists():
        if is_closed(connection):
            connection.close()
            closed += 1
        try:
            connection.request("POST", "/v1/tags", image + chance.randbytes(8))
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")[:300]
            outcome = "" if answer.status == 200 else f"{answer.status} {text}"
        except (OSError, http.client.HTTPException) as error:
            outcome = f"{type(error).__name__}: {error}"
            connection.close()
        sent += 1
        if outcome:
            failed.append(outcome)
        elif sent == COUNT:
            print("ready", flush=True)
        wait(chance.uniform(0, IDLE_S))


def wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not Path("/tmp/stop").exists():
        time.sleep(0.5)


def main() -> None:
    image = picture(SIZE)
    threads = [
        threading.Thread(target=uploads, args=(image, random.Random(number)))
        for number in range(COUNT)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    print(json.dumps({"bytes": len(image), "sent": sent, "closed": closed, "failed": failed}))


if __name__ == "__main__":
    main()
