"""A bundle in object storage: waited for, copied, and followed while versions are rolled out."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import READY_S, Installation, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

REGISTRY = "s3://models/pins"
STORE = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://store:9000",
}
OPTIONS = (
    f"--set=bundle.uri={REGISTRY},bundle.follow=true,bundle.secretName=bucket",
    # Beside DNS, Redis and the API server, pods reach only the store.
    '--set-json=networkPolicy.egress[0].ports=[{"port": 443}, {"port": 6443}, {"port": 9000}]',
)
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
# Writes other bytes into a file of a version.
DAMAGE = """
import json, sys
from pyarrow import fs

store = fs.S3FileSystem(endpoint_override="store:9000", scheme="http")
folder = sys.argv[1].removeprefix("s3://")
with store.open_input_stream(f"{folder}/bundle.json") as file:
    name = next(iter(json.load(file)["files"]))
with store.open_output_stream(f"{folder}/{name}") as file:
    file.write(b"damaged")
"""
# Makes a version the current one without the checks of `pintag models use`.
CHOOSE = """
import sys
from pyarrow import fs

store = fs.S3FileSystem(endpoint_override="store:9000", scheme="http")
with store.open_output_stream(sys.argv[1].removeprefix("s3://") + "/current") as file:
    file.write(sys.argv[2].encode())
"""
# Prints the version that answers.
VERSION = """
import json, sys, urllib.request
print(json.load(urllib.request.urlopen(sys.argv[1] + "/v1/model"))["version"])
"""


def use(server: Installation, version: str) -> None:
    """Make a version the current one, as a person does."""
    server.run("client", "pintag", "models", "use", version, REGISTRY)


def served(server: Installation) -> str:
    """The version that answers; empty: none does."""
    return server.python("client", VERSION, server.url, check=False).strip()


@pytest.fixture(scope="module")
def server(cluster: None) -> Iterator[Installation]:
    """An installation whose bundle does not exist yet, a store, and a pod that may write there."""
    with kubernetes.installation() as installed:
        literals = [f"--from-literal={name}={value}" for name, value in STORE.items()]
        installed.kubectl("create", "secret", "generic", "bucket", *literals)
        store = ["/s3/bin/moto_server", "--host=0.0.0.0", "--port=9000"]
        with (
            installed.pod("store", store, image=kubernetes.STORE_IMAGE, labels={"app": "store"}),
            installed.pod("client", ["sleep", "infinity"], {**STORE, "HOME": "/tmp"}),
        ):
            installed.kubectl("expose", "pod", "store", "--port=9000")
            installed.upgrade(*OPTIONS)
            yield installed


def test_pods_wait_for_a_bundle_and_say_so(server: Installation) -> None:
    event = f"Startup probe failed: error: {REGISTRY}: "
    wait_for(lambda: event in server.kubectl("get", "events"), 240, "the event")
    server.python("client", ADD, REGISTRY, "one")
    server.wait_until_ready()
    assert served(server) == "one"


def test_a_version_is_rolled_out_and_back_under_load(server: Installation) -> None:
    before = server.pods("--selector=ray.io/node-type")
    server.python("client", ADD, REGISTRY, "two")
    with server.load() as outcome:
        for version in ("two", "one"):
            use(server, version)
            wait_for(lambda: served(server) == version, READY_S, f"version {version}")  # noqa: B023
    assert outcome["failed"] == []
    # On the same cluster; and what is applied has not changed.
    assert server.pods("--selector=ray.io/node-type") == before
    server.kubectl("diff", "--filename=-", stdin=server.helm("get", "manifest", server.name))


def test_a_damaged_version_is_refused_and_the_old_one_serves_on(server: Installation) -> None:
    server.python("client", ADD, REGISTRY, "bad")
    server.python("client", DAMAGE, f"{REGISTRY}/bad")
    with server.load() as outcome:
        server.python("client", CHOOSE, REGISTRY, "bad")
        wait_for(lambda: "a server refused it" in problem(server), 120, "the refusal")
    assert (outcome["failed"], served(server)) == ([], "one")


def problem(server: Installation) -> str:
    """What `pintag models list` says about the current version."""
    listed = ("pintag", "models", "list", REGISTRY, "--json")
    versions = json.loads(server.run("client", *listed, check=False))
    (current,) = [each for each in versions if each["is_current"]]
    return str(current["problem"] or "")
