"""A bundle in object storage: waited for, copied, and followed while versions are rolled out."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes, objects
from tests.cluster.kubernetes import READY_S, Installation, disposable, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

OPTIONS = (
    f"--set=bundle.uri={objects.REGISTRY},bundle.follow=true,bundle.secretName=bucket",
    objects.EGRESS,
)
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
    server.run("client", "pintag", "models", "use", version, objects.REGISTRY)


def served(server: Installation) -> str:
    """The version that answers; empty: none does."""
    return server.python("client", VERSION, server.url, check=False).strip()


@pytest.fixture(scope="module")
def server(cluster: None) -> Iterator[Installation]:
    """An installation whose bundle does not exist yet, a store, and a pod that may write there."""
    with kubernetes.installation() as installed, objects.store(installed):
        installed.upgrade(*OPTIONS)
        yield installed


def test_pods_wait_for_a_bundle_and_say_so(server: Installation) -> None:
    event = f"Startup probe failed: error: {objects.REGISTRY}: "
    wait_for(lambda: event in server.kubectl("get", "events"), 240, "the event")
    server.python("client", objects.ADD, objects.REGISTRY, "one")
    server.wait_until_ready()
    assert served(server) == "one"


@disposable
def test_a_version_is_rolled_out_and_back_under_load(server: Installation) -> None:
    before = server.pods("--selector=ray.io/node-type")
    server.python("client", objects.ADD, objects.REGISTRY, "two")
    with server.load() as outcome:
        for version in ("two", "one"):
            use(server, version)
            wait_for(lambda: served(server) == version, READY_S, f"version {version}")  # noqa: B023
    assert outcome["failed"] == []
    # On the same cluster; and what is applied has not changed.
    assert server.pods("--selector=ray.io/node-type") == before
    server.kubectl("diff", "--filename=-", stdin=server.helm("get", "manifest", server.name))


@disposable
def test_a_damaged_version_is_refused_and_the_old_one_serves_on(server: Installation) -> None:
    server.python("client", objects.ADD, objects.REGISTRY, "bad")
    server.python("client", DAMAGE, f"{objects.REGISTRY}/bad")
    with server.load() as outcome:
        server.python("client", CHOOSE, objects.REGISTRY, "bad")
        wait_for(lambda: "a server refused it" in problem(server), 120, "the refusal")
    assert (outcome["failed"], served(server)) == ([], "one")


def problem(server: Installation) -> str:
    """What `pintag models list` says about the current version."""
    listed = ("pintag", "models", "list", objects.REGISTRY, "--json")
    versions = json.loads(server.run("client", *listed, check=False))
    (current,) = [each for each in versions if each["is_current"]]
    return str(current["problem"] or "")
