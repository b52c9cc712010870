"""A real cluster, by kubectl and helm: what the tests of this folder do with it.

KUBECONFIG names the cluster, with KubeRay in it. PINTAG_CLUSTER_IMAGE is an image that its nodes
have, with a bundle at /models/pins (docs/tutorials/first-cluster.md, step 1).
PINTAG_CLUSTER_SECOND_TAG is another tag of such an image, to upgrade to.
PINTAG_CLUSTER_STORE_IMAGE has moto's server, an S3 store (scripts/test-on-lab.sh builds it).
PINTAG_CLUSTER_ACCESS_MODE is that of the volumes of jobs: ReadWriteOnce on kind, with its one node.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts import chart

IMAGE = os.environ.get("PINTAG_CLUSTER_IMAGE", "pintag:1-demo")
SECOND_TAG = os.environ.get("PINTAG_CLUSTER_SECOND_TAG", "2-demo")
ACCESS_MODE = os.environ.get("PINTAG_CLUSTER_ACCESS_MODE", "ReadWriteMany")
STORE_IMAGE = os.environ.get("PINTAG_CLUSTER_STORE_IMAGE", "s3:1")
# A processor of the lab is shared by many: what is quick elsewhere takes minutes.
READY_S, GONE_S = 900, 180

# Options of an installation.
TWO_PODS = (
    # With one classifier replica each, so that one may end.
    "--set=classifier.pods.min=2,classifier.pods.max=2,classifier.replicasPerPod=1",
    "--set=settings.classifier.autoscaling.min_replicas=2",
)
CPU_LIMITS = tuple(
    f"--set={group}.resources.limits.cpu=2"
    for group in ("head", "head.autoscaler", "classifier", "explainer", "redis")
)
ROOM_FOR_ANOTHER = (
    # Room for a second replica in the pod: the old one goes when the new one answers.
    "--set=settings.classifier.autoscaling.min_replicas=1",
    "--set=settings.classifier.autoscaling.max_replicas=1",
    "--set=settings.classifier.max_surge_percent=100",
)

Object = dict[str, Any]
disposable = pytest.mark.skipif(
    os.environ.get("PINTAG_CLUSTER_DISPOSABLE") != "1",
    reason="loads the cluster, ends pods, or stops nodes: PINTAG_CLUSTER_DISPOSABLE=1 allows that",
)


def missing() -> str:
    """What the tests need and do not have; empty: nothing."""
    for program in ("kubectl", chart.HELM):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG names no cluster"
    done = run("kubectl", "get", "crd", "rayservices.ray.io", check=False)
    return f"the cluster has no KubeRay: {done.stderr}" if done.returncode else ""


def run(
    *command: object, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, input=stdin, timeout=600
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition()` is true. Each call of kubectl takes a while of a processor."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(2)


def component(name: str) -> str:
    """The option of kubectl for the pods of one kind: `head`, `classifier` …"""
    return f"--selector=app.kubernetes.io/component={name}"


CLASSIFIERS = component("classifier")


def is_ready(pod: Object) -> bool:
    """Whether a pod answers, and stays."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


class Installation:
    """A release of the chart in a namespace of its own."""

    def __init__(self, namespace: str) -> None:
        self.namespace, self.name = namespace, "pintag"

    def kubectl(self, *arguments: object, **options: Any) -> str:
        return run("kubectl", "--namespace", self.namespace, *arguments, **options).stdout

    def helm(self, *arguments: object, check: bool = True) -> str:
        done = run(chart.HELM, "--namespace", self.namespace, *arguments, check=check)
        return done.stdout + done.stderr

    def upgrade(self, *options: str) -> None:
        """Install, or change values: `options` are all that differs from the example."""
        repository, _, tag = IMAGE.rpartition(":")
        self.helm(
            "upgrade", "--install", self.name, chart.CHART,
            f"--values={chart.CHART / 'examples/kind.yaml'}",
            f"--set=image.repository={repository},image.tag={tag}", *options,
        )  # fmt: skip

    def get(self, kind: str, name: str = "", *options: str) -> Any:
        names = [name] if name else []
        return json.loads(self.kubectl("get", kind, *names, "--output=json", *options))

    def pods(self, *options: str) -> dict[str, str]:
        """The unique id of each pod by its name."""
        found = self.get("pods", "", *options)["items"]
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}

    def end(self, pod: str) -> None:
        """Remove a pod without a farewell, as when its node loses power."""
        self.kubectl("delete", "pod", pod, "--force", "--grace-period=0")

    def wait_until_ready(self) -> None:
        try:
            wait_for(self.is_ready, READY_S, "the RayService")
        except AssertionError as error:
            raise AssertionError(self.kubectl("get", "pods,rayservice,events")) from error

    def is_ready(self) -> bool:
        status = self.get("rayservice", self.name).get("status", {})
        conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
        return conditions.get("Ready") == "True" and conditions.get("UpgradeInProgress") != "True"

    @contextlib.contextmanager
    def load(self, rate: float = 20, url: str = "", node: str = "") -> Iterator[dict[str, Any]]:
        """Uploads at a constant rate; what became of them is in the dictionary afterwards.

        Args:
            url: the server's; empty: that of the Service.
            node: where the uploads come from; empty: any.
        """
        code = Path(__file__).with_name("load.py").read_text(encoding="utf-8")
        pod, outcome = f"load-{uuid.uuid4().hex[:6]}", {}
        variables = {"SERVER": url or self.url, "RATE": str(rate)}
        # Without a share of its own it would get no processor for seconds while others start.
        limits = {"cpu": "500m", "memory": "256Mi"}
        with self.pod(pod, ["python", "-c", code], variables, node=node, limits=limits):
            wait_for(lambda: "ready" in self.kubectl("logs", pod, check=False), 180, "the load")
            yield outcome
            self.kubectl("exec", pod, "--", "touch", "/tmp/stop")
            wait_for(lambda: "}" in self.kubectl("logs", pod), 120, "the outcome")
            outcome |= json.loads(self.kubectl("logs", pod).splitlines()[-1])
            print(outcome)

    @property
    def url(self) -> str:
        """The server's address within the namespace."""
        return f"http://{self.name}-serve-svc:8000"

    @contextlib.contextmanager
    def pod(
        self,
        name: str,
        command: list[str],
        variables: Mapping[str, str] | None = None,
        *,
        image: str = "",
        labels: Mapping[str, str] | None = None,
        limits: Mapping[str, str] | None = None,
        claims: Mapping[str, str] | None = None,
        node: str = "",
    ) -> Iterator[None]:
        """A pod that is not part of the installation, while the block runs; it is ready.

        Args:
            claims: where volumes are mounted, by the name of their claim.
            node: where it runs; empty: anywhere.
        """
        environment = [{"name": key, "value": each} for key, each in (variables or {}).items()]
        container = {
            "name": "main",
            "image": image or IMAGE,
            "command": command,
            "env": environment,
            "resources": {"limits": dict(limits or {})},
            "volumeMounts": [
                {"name": claim, "mountPath": path} for claim, path in (claims or {}).items()
            ],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        security = {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": dict(labels or {})},
            "spec": {
                "restartPolicy": "Never",
                "securityContext": security,
                "volumes": [
                    {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
                    for claim in claims or {}
                ],
                "containers": [container],
                **({"nodeName": node} if node else {}),
            },
        }
        self.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
        try:
            self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=3m")
            yield
        finally:
            self.kubectl("delete", "pod", name, "--force", "--grace-period=0", check=False)

    def run(self, pod: str, *command: str, check: bool = True, stdin: str | None = None) -> str:
        """Run a command in a pod, and return what it prints."""
        return self.kubectl("exec", "-i", pod, "--", *command, check=check, stdin=stdin)

    def python(self, pod: str, code: str, *arguments: str, check: bool = True) -> str:
        """Run Python in a pod, and return what it prints."""
        return self.run(pod, "python", "-", *arguments, check=check, stdin=code)

    def remains(self) -> list[str]:
        """The objects of the release, of KubeRay and of its jobs that are still there."""
        kinds = (
            "rayservices,rayclusters,rayjobs,pods,services,statefulsets,jobs,persistentvolumeclaims"
        )
        kinds += ",networkpolicies,poddisruptionbudgets,serviceaccounts,roles,rolebindings"
        kinds += ",secrets,configmaps"
        # Kubernetes makes these in every namespace, and `installation` the Secret.
        others = {"serviceaccount/default", "configmap/kube-root-ca.crt", "secret/pintag-redis"}
        return sorted({*self.kubectl("get", kinds, "--output=name").split()} - others)


@contextlib.contextmanager
def empty_namespace() -> Iterator[str]:
    """The name of a namespace that enforces the standard `restricted`; deleted afterwards."""
    name = f"pintag-test-{uuid.uuid4().hex[:6]}"
    run("kubectl", "create", "namespace", name)
    try:
        run("kubectl", "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        yield name
    finally:
        run("kubectl", "delete", "namespace", name, "--wait=false")


@contextlib.contextmanager
def installation() -> Iterator[Installation]:
    """A namespace for one release, which is uninstalled afterwards."""
    # Characters that mean something to a shell, to Redis's configuration, and in URLs.
    password = """a"b'c$d`e\\f#g@h:i/j%k&l;m|n(o)p<q>r{s}t?u*v!w"""
    with empty_namespace() as namespace:
        installed = Installation(namespace)
        installed.kubectl(
            "create", "secret", "generic", "pintag-redis", f"--from-literal=password={password}"
        )
        try:
            yield installed
        finally:
            # Before the namespace: one that ends admits no job that removes Ray's state from Redis.
            installed.helm("uninstall", installed.name, check=False)
            wait_for(
                lambda: not installed.get("rayclusters")["items"], GONE_S, "the end of the cluster"
            )
