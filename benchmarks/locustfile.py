"""A realistic mix of users who upload images, for Locust.

    locust -f benchmarks/locustfile.py -H http://127.0.0.1:8000                  # with a web page
    locust -f benchmarks/locustfile.py -H http://127.0.0.1:8000 --headless -u 50 -r 5 -t 1m
    locust -f benchmarks/locustfile.py -H http://127.0.0.1:8000 --headless -u 500 --processes 4
    locust -f benchmarks/locustfile.py -H http://pintag:8000 --master            # several machines
    locust -f benchmarks/locustfile.py --worker --master-host loader             # on each other one

PINTAG_IMAGES is a folder of images to upload; without it synthetic drawings are uploaded. After a
refusal (429 or 503) a user waits for Retry-After, as a good client does; Locust lists refusals as a
separate failure. PINTAG_KEY is the API key for a server that requires one.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import gevent
import numpy as np
from locust import FastHttpUser, between, task
from PIL import Image

from pintag.data import figures
from pintag.data.labels import DEFAULT_NAMES
from pintag.images.decoding import SUFFIXES

_DRAWINGS, _MAX_IMAGES = 64, 2000
# The longer side of an upload: thumbnails, the web's pictures, photographs.
_SIDES = (160, 236, 564, 736, 1600, 3000)
_SHARES = (15, 35, 25, 15, 8, 2)
_FORMATS = {"JPEG": 85, "PNG": 7, "WEBP": 6, "GIF": 2}

TypedBody = tuple[bytes, str]


@cache
def pictures() -> list[Image.Image]:
    """The images to upload; those of a folder are opened, but not decoded."""
    if folder := os.environ.get("PINTAG_IMAGES"):
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise SystemExit(f"PINTAG_IMAGES: {folder} contains no images")
        return [Image.open(io.BytesIO(path.read_bytes())) for path in paths[:_MAX_IMAGES]]
    rng = np.random.default_rng(0)
    return [figures.draw(str(rng.choice(DEFAULT_NAMES)), rng, size=256) for _ in range(_DRAWINGS)]


@cache
def upload(number: int) -> TypedBody:
    """An encoded image and its media type; they depend on the number only."""
    rng = random.Random(number)
    picture = rng.choice(pictures()).convert("RGB")
    side = rng.choices(_SIDES, _SHARES)[0]
    scale = side / max(picture.size)
    sized = picture.resize([max(1, round(length * scale)) for length in picture.size])
    file_format = rng.choices(list(_FORMATS), list(_FORMATS.values()))[0]
    content = io.BytesIO()
    sized.save(content, file_format)
    return content.getvalue(), f"image/{file_format.lower()}"


class Uploader(FastHttpUser):
    """Uploads an image from time to time, sometimes a repeated one, and rarely a corrupt one."""

    wait_time = between(0.5, 3)
    default_headers = (
        {"Authorization": f"Bearer {os.environ['PINTAG_KEY']}"}
        if "PINTAG_KEY" in os.environ
        else {}
    )
    # The number of different files. When all are created, every upload is a repeat.
    _files = 400

    @task(80)
    def upload(self) -> None:
        """One image. Small numbers are frequent, because popular images are uploaded often."""
        body, media = upload(min(int(random.paretovariate(0.4)), self._files))
        self._post("/v1/tags", body, {"Content-Type": media}, "POST /v1/tags")

    @task(6)
    def upload_several(self) -> None:
        """Several images in one request."""
        files = [upload(random.randrange(self._files)) for _ in range(random.randint(2, 6))]
        body = b"".join(len(content).to_bytes(4) + content for content, _ in files)
        self._post("/v1/tags:batch", body, {}, "POST /v1/tags:batch")

    @task(3)
    def upload_corrupt(self) -> None:
        """Bytes that are not an image, or a part of an image: the server must answer 400."""
        image = upload(random.randrange(self._files))[0]
        body = random.choice((b"a recipe, and no picture of it", image[: len(image) // 3]))
        self._post("/v1/tags", body, {}, "POST /v1/tags, bad", expected=400)

    @task(2)
    def explain(self) -> None:
        """An explanation, which takes seconds."""
        body, media = upload(random.randrange(50))
        self._post("/v1/explanations", body, {"Content-Type": media}, "POST /v1/explanations")

    @task(9)
    def get_model(self) -> None:
        """The request that the page sends when it opens."""
        self.client.get("/v1/model")

    def _post(
        self, path: str, body: bytes, headers: Mapping[str, str], name: str, expected: int = 200
    ) -> None:
        request = self.client.post(
            path,
            data=body,  # type: ignore[arg-type] # bytes work, although they are not declared
            headers=dict(headers),
            name=name,
            catch_response=True,
        )
        with request as response:
            if response.status_code in (429, 503):
                response.failure("refused: the queue is full, or the limit of the key is reached")
                gevent.sleep(float(response.headers.get("Retry-After", 1)))
            elif response.status_code != expected:
                response.failure(f"answered {response.status_code}, expected {expected}")
            else:
                response.success()
