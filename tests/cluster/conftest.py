"""One installation for the tests of a module, on the cluster of KUBECONFIG."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes
from tests.cluster.kubernetes import Installation


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skip where there is no cluster."""
    if reason := kubernetes.missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def server(cluster: None, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """A server that is ready, with the `OPTIONS` of the tests' module if it has any."""
    with kubernetes.installation() as installed:
        installed.upgrade(*getattr(request.module, "OPTIONS", ()))
        installed.wait_until_ready()
        yield installed
