"""An S3 store beside an installation, and a pod `client` that may write there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from tests.cluster import kubernetes
from tests.cluster.kubernetes import Installation

REGISTRY = "s3://models/pins"
STORE = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://store:9000",
}
# Beside DNS, Redis and the API server, pods reach only the store.
PORTS = '[{"port": 443}, {"port": 6443}, {"port": 9000}]'
EGRESS = f"--set-json=networkPolicy.egress[0].ports={PORTS}"
# Adds the bundle of the image with another version, in a bucket that it makes.
ADD = """
import json, pathlib, shutil, subprocess, sys
from pyarrow import fs

registry, version = sys.argv[1:3]
store = fs.S3FileSystem(endpoint_override="store:9000", scheme="http", allow_bucket_creation=True)
store.create_dir("models")
folder = pathlib.Path("/tmp") / version
shutil.copytree("/models/pins", folder, copy_function=shutil.copyfile)
manifest = json.loads((folder / "bundle.json").read_text())
(folder / "bundle.json").write_text(json.dumps({**manifest, "version": version}))
subprocess.run(["pintag", "models", "add", folder, registry], check=True)
"""


@contextlib.contextmanager
def store(server: Installation, claims: Mapping[str, str] | None = None) -> Iterator[None]:
    """A store and a client while the block runs, and a Secret `bucket` for the server.

    Args:
        claims: where volumes are mounted in the client, by the name of their claim.
    """
    literals = [f"--from-literal={name}={value}" for name, value in STORE.items()]
    server.kubectl("create", "secret", "generic", "bucket", *literals)
    command = ["/s3/bin/moto_server", "--host=0.0.0.0", "--port=9000"]
    image, labels = kubernetes.STORE_IMAGE, {"app": "store"}
    variables = {**STORE, "HOME": "/tmp"}
    with (
        server.pod("store", command, image=image, labels=labels),
        server.pod("client", ["sleep", "infinity"], variables, claims=claims),
    ):
        server.kubectl("expose", "pod", "store", "--port=9000")
        yield
