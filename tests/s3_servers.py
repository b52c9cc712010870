"""An S3 server on this machine (moto)."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

# The credentials of every client.
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
_BUCKETS = itertools.count()


@dataclass(frozen=True)
class S3:
    """An S3 server on this machine."""

    port: int
    client: Any

    def uri(self, path: str) -> str:
        """The URI by which pyarrow reaches a folder of a bucket."""
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http"

    def bucket(self) -> str:
        """Create a bucket and return its name."""
        name = f"bucket-{next(_BUCKETS)}"
        self.client.create_bucket(Bucket=name)
        return name

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Refuse every request while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("moto.core.authorization.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
            yield


@contextlib.contextmanager
def started() -> Iterator[S3]:
    """Run an S3 server during the block."""
    # It would log a line for every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    key, secret, region = KEYS.values()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=region,
    )
    try:
        yield S3(port, client)
    finally:
        server.stop()
