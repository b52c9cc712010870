"""One installation for all tests that only change it, on the cluster of KUBECONFIG."""

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


@pytest.fixture(scope="session")
def server(cluster: None) -> Iterator[Installation]:
    """A server that is ready."""
    with kubernetes.installation() as installed:
        installed.upgrade()
        installed.wait_until_ready()
        yield installed
