"""An S3 server on this machine, and pictures in every form that bulk tagging takes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def picture(number: int, size: int = 24) -> bytes:
    """A small JPEG of its own."""
    rng = np.random.default_rng(number)
    encoded = io.BytesIO()
    pixels = rng.integers(0, 256, (3, 3, 3), np.uint8)
    Image.fromarray(pixels).resize((size, size)).save(encoded, "JPEG")
    return encoded.getvalue()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures in folders, one corrupt, one that is no picture by its name."""
    root = tmp_path_factory.mktemp("catalogue")
    for number in range(9):
        place = root / f"{number % 3}" / f"{number}.jpg"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(picture(number))
    (root / "0" / "corrupt.jpg").write_bytes(picture(0)[:-100])
    (root / "notes.txt").write_text("nothing to see")
    return root


@dataclass(frozen=True)
class S3:
    """A server of buckets."""

    port: int
    client: Any

    def uri(self, place: str) -> str:
        """How pyarrow reaches a bucket's folder."""
        return f"s3://{place}?endpoint_override=127.0.0.1:{self.port}&scheme=http"


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        # Each request would be a line on standard error.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        import boto3
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        _, port = server.get_host_and_port()
        yield S3(port, boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}"))
        server.stop()
