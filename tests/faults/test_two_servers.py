"""Two servers on one host, started together: each answers with its own model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from pintag.models import bundle
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.nodes import ports
from tests.conftest import Server, descendants, haproxy_config, serving
from tests.faults.conftest import watched

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here"),
]

SMALL = ("explainer.enabled=false",)
# Each server looks for free ports itself.
OWN_PORTS = dict.fromkeys(ports.DEFAULTS, "")


@contextmanager
def together(*contexts: AbstractContextManager[Server]) -> Iterator[list[Server]]:
    """Start servers in the same moment."""
    with ExitStack() as stack:
        with ThreadPoolExecutor(len(contexts)) as pool:
            servers = [pool.submit(stack.enter_context, context) for context in contexts]
        yield [server.result() for server in servers]


def test_no_answer_comes_from_the_other_server(
    quick_dir: Path, bundle_dir: Path, tmp_path: Path, body: bytes
) -> None:
    versions = [bundle.load(folder).manifest.version for folder in (quick_dir, bundle_dir)]
    assert versions[0] != versions[1]
    with together(
        serving(quick_dir, tmp_path / "first", *SMALL, **OWN_PORTS),
        serving(bundle_dir, tmp_path / "second", *SMALL, **OWN_PORTS),
    ) as (first, second):
        ids = set()
        for server, version in zip((first, second), versions, strict=True):
            answers = [httpx.post(f"{server.url}/v1/tags", content=body) for _ in range(20)]
            assert {answer.json()["model"]["version"] for answer in answers} == {version}
            text = haproxy_config(server.process)
            ids.add(text.partition("set-header x-pintag-cluster ")[2].split()[0])
        assert len(ids) == 2
        # The replicas of the first one die; its HAProxy still never asks those of the second.
        with watched(f"{first.url}/v1/tags", [body], 20) as watch:
            for replica in descendants(first.process, "ServeReplica:classifier:"):
                replica.kill()
            watch.wait_for_answers(1)
        assert httpx.get(f"{first.url}/v1/model").json()["version"] == versions[0]
