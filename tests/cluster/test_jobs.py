"""Jobs: a bundle is loaded into a volume, models are trained, a catalogue is tagged."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import kubernetes, objects
from tests.cluster.kubernetes import READY_S, Installation, disposable, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

RESOURCES = {"requests": {"cpu": "500m", "memory": "3Gi"}, "limits": {"memory": "3Gi"}}
OPTIONS = (
    "--set=bundle.secretName=bucket,bundle.uri=/models/pins/one",
    "--set=bundle.volume.enabled=true,bundle.volume.existingClaim=models",
    f"--set=bundle.volume.loadFrom={objects.REGISTRY}/one",
    objects.EGRESS,
    "--set=settings.explainer.enabled=false",
    "--set=jobs.dataClaim=data,jobs.workers=1,jobs.cpus=2,jobs.objectStore=512Mi",
    f"--set-json=jobs.resources={json.dumps(RESOURCES)}",
)
COMMANDS = {
    "train": "pintag train /opt/pintag/configs/train/sample.yaml --data /data/pins "
    "--out /models/runs/sample --resume name=sample scaling.num_workers=1",
    "retrain": 'sh -c "pintag train /opt/pintag/configs/train/sample.yaml --data /data/pins '
    "--out /models/runs/again-{run} --resume name=sample scaling.num_workers=1 && "
    "pintag optimize /models/runs/again-{run} --data /data/pins && "
    'pintag models add --use /models/runs/again-{run} /models/pins"',
    "study": "pintag study /opt/pintag/configs/study/sample.yaml --data /data/pins "
    "--out /models/runs/study --resume",
    "bulk": "pintag bulk /data/pins/test --bundle /models/pins/one --out /models/tags",
}
RESULTS = {
    "train": "runs/sample/bundle.json",
    "retrain": "runs/again-1/bundle.json",
    "study": "runs/study/results.json",
    "bulk": "tags",
}


@pytest.fixture(scope="module")
def server(cluster: None) -> Iterator[Installation]:
    with kubernetes.installation() as installed:
        for claim in ("models", "data"):
            installed.kubectl("apply", "--filename=-", stdin=json.dumps(volume_claim(claim)))
        with objects.store(installed, {"models": "/models-volume", "data": "/data"}):
            installed.python("client", objects.ADD, objects.REGISTRY, "one")
            installed.run("client", "pintag", "data", "sample", "/data/pins")
            yield installed


def volume_claim(name: str) -> kubernetes.Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [kubernetes.ACCESS_MODE],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def test_a_job_loads_the_bundle_into_the_volume(server: Installation) -> None:
    server.upgrade(*OPTIONS)
    server.wait_until_ready()
    assert "bundle.json" in server.run("client", "ls", "/models-volume/pins/one")


@pytest.mark.parametrize("job", [*COMMANDS])
def test_a_job_runs_to_completion_and_its_cluster_ends(server: Installation, job: str) -> None:
    command = f"--set-string=jobs.{job}.command={COMMANDS[job]}"
    server.upgrade(*OPTIONS, f"--set=jobs.{job}.enabled=true", command)
    name = f"{server.name}-{job}-1"

    wait_until_complete(server, name)
    assert server.run("client", "ls", f"/models-volume/{RESULTS[job]}")
    # Its logs can still be read; its pods are gone.
    cluster = f"--selector=ray.io/cluster={cluster_of(server, name)}"
    wait_for(lambda: not server.pods(cluster), READY_S, "the end of its cluster")


def cluster_of(server: Installation, job: str) -> str:
    """The name of a job's Ray cluster; it changes when the job is tried again."""
    name: str = server.get("rayjob", job)["status"]["rayClusterName"]
    return name


def wait_until_complete(server: Installation, name: str) -> None:
    def state() -> str:
        status = server.get("rayjob", name).get("status", {})
        return str(status.get("jobDeploymentStatus", "")) + str(status.get("jobStatus", ""))

    wait_for(lambda: state().startswith(("Complete", "Failed")), 1200, f"the end of {name}")
    log = server.kubectl("logs", f"job/{name}", check=False)
    assert state() == "CompleteSUCCEEDED", log


# Links the pictures of one folder ten times, so that a job takes a while.
MANY = (
    "cd /data/many && for copy in 0 1 2 3 4 5 6 7 8 9; do cp -al train copy$copy; done; rm -r train"
)
# Prints how many images have a result, and how many results there are.
COUNT = """
import pathlib
import pyarrow.parquet as parquet

names = [
    name
    for path in pathlib.Path("/models-volume/many").glob("part-*.parquet")
    for name in parquet.read_table(path, columns=["uri"])["uri"].to_pylist()
]
print(len(set(names)), len(names))
"""


@disposable
def test_a_bulk_job_goes_on_without_its_head_and_without_its_submitter(
    server: Installation,
) -> None:
    server.run("client", "pintag", "data", "sample", "/data/many", "--per-label", "250")
    server.run("client", "sh", "-c", MANY)
    total = len(server.run("client", "find", "/data/many", "-name", "*.jpg").splitlines())
    command = "pintag bulk /data/many --bundle /models/pins/one --out /models/many"
    server.upgrade(
        *OPTIONS,
        "--set=jobs.bulk.enabled=true,jobs.bulk.run=2",
        f"--set-string=jobs.bulk.command={command}",
    )
    name = f"{server.name}-bulk-2"
    wait_for(lambda: results(server)[0] >= 0.25 * total, 1200, "a quarter of the results")
    end(server, f"ray.io/cluster={cluster_of(server, name)},ray.io/node-type=head")
    wait_for(lambda: results(server)[0] >= 0.5 * total, 1200, "half of the results")
    end(server, f"batch.kubernetes.io/job-name={name}")
    wait_until_complete(server, name)
    assert results(server) == (total, total)


def end(server: Installation, labels: str) -> None:
    """Remove the running pod with some labels."""
    options = (f"--selector={labels}", "--field-selector=status.phase=Running")
    (pod,) = server.pods(*options)
    server.end(pod)


def results(server: Installation) -> tuple[int, int]:
    images, rows = server.python("client", COUNT).split()
    return int(images), int(rows)
