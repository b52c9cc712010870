"""People who upload pictures: a believable mix, for Locust.

    locust -f tests/load/locustfile.py -H http://127.0.0.1:8000                  # with a page
    locust -f tests/load/locustfile.py -H http://127.0.0.1:8000 --headless -u 50 -r 5 -t 1m
    locust -f tests/load/locustfile.py -H http://127.0.0.1:8000 --headless -u 500 --processes 4
    locust -f tests/load/locustfile.py -H http://pintag:8000 --master            # and elsewhere
    locust -f tests/load/locustfile.py --worker --master-host loader

PINTAG_IMAGES is a folder of pictures to upload; without it synthetic drawings are. A refusal (503)
waits for its Retry-After, as a good client does, and is counted under a name of its own. PINTAG_KEY
is the key of a server that asks for one.
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

from pintag import sample
from pintag.images import SUFFIXES
from pintag.labels import DEFAULT_NAMES

_PICTURES, _MOST = 64, 2000
# The longer side of an upload: thumbnails, the web's pictures, photographs.
_SIDES = (160, 236, 564, 736, 1600, 3000)
_SHARES = (15, 35, 25, 15, 8, 2)
_FORMATS = {"JPEG": 85, "PNG": 7, "WEBP": 6, "GIF": 2}

Upload = tuple[bytes, str]


@cache
def pictures() -> list[Image.Image]:
    """What people have to show: opened, not decoded."""
    if folder := os.environ.get("PINTAG_IMAGES"):
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise SystemExit(f"PINTAG_IMAGES: there are no pictures in {folder}")
        return [Image.open(io.BytesIO(path.read_bytes())) for path in paths[:_MOST]]
    rng = np.random.default_rng(0)
    return [sample.draw(str(rng.choice(DEFAULT_NAMES)), rng, size=256) for _ in range(_PICTURES)]


@cache
def upload(number: int) -> Upload:
    """One of the files that there are: the same for the same number."""
    chance = random.Random(number)
    picture = chance.choice(pictures()).convert("RGB")
    side = chance.choices(_SIDES, _SHARES)[0]
    scale = side / max(picture.size)
    sized = picture.resize([max(1, round(length * scale)) for length in picture.size])
    form = chance.choices(list(_FORMATS), list(_FORMATS.values()))[0]
    content = io.BytesIO()
    sized.save(content, form)
    return content.getvalue(), f"image/{form.lower()}"


class Uploader(FastHttpUser):
    """Uploads a picture now and then, sometimes one that was seen before, and rarely a bad one."""

    wait_time = between(0.5, 3)
    default_headers = (
        {"Authorization": f"Bearer {os.environ['PINTAG_KEY']}"}
        if "PINTAG_KEY" in os.environ
        else {}
    )
    # New files are made while there are fewer than these; then all are repeats.
    _files = 400

    @task(80)
    def upload(self) -> None:
        """A picture; small numbers come often, as popular pictures are uploaded again and again."""
        body, media = upload(min(int(random.paretovariate(0.4)), self._files))
        self._post("/v1/tags", body, {"Content-Type": media}, "POST /v1/tags")

    @task(6)
    def upload_several(self) -> None:
        """A board: a few pictures in one request."""
        files = [upload(random.randrange(self._files)) for _ in range(random.randint(2, 6))]
        body = b"".join(len(content).to_bytes(4) + content for content, _ in files)
        self._post("/v1/tags:batch", body, {}, "POST /v1/tags:batch")

    @task(3)
    def upload_a_bad_one(self) -> None:
        """No picture, or a part of one: to be refused with 400."""
        whole = upload(random.randrange(self._files))[0]
        body = random.choice((b"a recipe, and no picture of it", whole[: len(whole) // 3]))
        self._post("/v1/tags", body, {}, "POST /v1/tags, bad", wanted=400)

    @task(2)
    def ask_why(self) -> None:
        """An explanation, which takes its time."""
        body, media = upload(random.randrange(50))
        self._post("/v1/explanations", body, {"Content-Type": media}, "POST /v1/explanations")

    @task(9)
    def look_at_the_model(self) -> None:
        """What a page asks for when it opens."""
        self.client.get("/v1/model")

    def _post(
        self, path: str, body: bytes, headers: Mapping[str, str], name: str, wanted: int = 200
    ) -> None:
        asked = self.client.post(
            path, data=body, headers=dict(headers), name=name, catch_response=True
        )
        with asked as response:
            if response.status_code in (429, 503):
                response.failure("refused: more than is admitted, or than the key allows")
                gevent.sleep(float(response.headers.get("Retry-After", 1)))
            elif response.status_code != wanted:
                response.failure(f"answered {response.status_code}, and not {wanted}")
            else:
                response.success()
