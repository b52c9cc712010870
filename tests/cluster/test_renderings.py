"""A real API server accepts every rendering of the chart; it makes nothing of it (a dry run)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from scripts import chart
from tests.cluster.kubernetes import Installation, empty_namespace, run
from tests.k8s.rendering import EVERYTHING, objects

pytestmark = pytest.mark.cluster

NAMES = [path.stem for path in chart.EXAMPLES]


@pytest.fixture(scope="module")
def namespace(cluster: None) -> Iterator[Installation]:
    with empty_namespace() as name:
        yield Installation(name)


@pytest.fixture(scope="module")
def kinds(cluster: None) -> set[str]:
    """The kinds that this cluster knows: perhaps not those of Prometheus or of a Gateway."""
    lines = run("kubectl", "api-resources", "--no-headers").stdout.splitlines()
    return {line.split()[-1] for line in lines}


@pytest.mark.parametrize("example", NAMES)
@pytest.mark.parametrize("options", [(), EVERYTHING], ids=["example", "everything"])
def test_the_api_server_accepts_a_rendering(
    namespace: Installation, kinds: set[str], example: str, options: tuple[str, ...]
) -> None:
    for manifest in objects(example, *options):
        if manifest["kind"] in kinds:
            manifest["metadata"]["namespace"] = namespace.namespace
            text = yaml.safe_dump(manifest)
            for side in ((), ("--server-side",)):
                namespace.kubectl(
                    "apply",
                    "--dry-run=server",
                    "--validate=strict",
                    *side,
                    "--filename=-",
                    stdin=text,
                )
