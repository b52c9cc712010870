"""What a value, or the chart itself, puts into an object."""

from __future__ import annotations

from typing import Any

import pytest

from tests.k8s.rendering import EVERYTHING, Object, helm, objects, refusal, templates

pytestmark = helm

EVICT, DISRUPT = "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt"
AUTHORITY = (
    "--set=redis.external.host=cache,redis.external.tls=true,redis.external.caSecretName=authority",
)
VOLUME = (
    '--set-json=pods.volumes=[{"name": "extra", "emptyDir": {"sizeLimit": "1Mi"}}]',
    '--set-json=pods.volumeMounts=[{"name": "extra", "mountPath": "/extra"}]',
)
VARIABLES = (
    '--set-json=pods.env=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]',
    '--set-json=pods.envFrom=[{"configMapRef": {"name": "more"}}]',
)
PLACE = (
    "--set=jobs.train.enabled=true,jobs.load.enabled=true,jobs.nodeSelector.pool=spot",
    '--set-json=jobs.tolerations=[{"key": "spot", "operator": "Exists"}]',
    '--set-json=jobs.affinity={"nodeAffinity": {}}',
)
HALF = (
    "--set=classifier.replicasPerPod=2,classifier.gpu.runtimeClassName=nvidia",
    "--set-json=settings.classifier.num_gpus=0.5",
)
QUEUE = ("--set=jobs.labels.queue=night",)
TODAY = (
    "--set=jobs.train.enabled=true",
    "--set-json=jobs.train.run=20261201",
    "--set-json=image.tag=20261201",
)
FOLLOW = ("--set=bundle.follow=true,bundle.uri=/models/pins,bundle.volume.enabled=true",)
HEADROOM = ("--set=headroom.pods=1",)
JOB_GPU = ("--set=jobs.train.enabled=true,jobs.gpu.count=2,jobs.gpu.runtimeClassName=nvidia",)
RESTARTS = "spec/containers/ray/env/RAY_gcs_rpc_server_reconnect_timeout_s/value"
LOST_NODES = "spec/containers/ray/env/RAY_grpc_client_keepalive_timeout_ms/value"
STORAGE = "resources/requests/ephemeral-storage"
TEAM, TIMEOUT = "metadata/annotations/team", "spec/rules/0/timeouts/request"
TYPE = "spec/serveService/spec/type"
WORKERS = "spec/rayClusterConfig/workerGroupSpecs/0"
JOB_WORKERS = "spec/rayClusterSpec/workerGroupSpecs/0/template/spec"

NAME = "app\\.kubernetes\\.io/name"

# An example, options, a kind or the component of a pod, a path in it, and what is there.
Row = tuple[str, tuple[str, ...], str, str, Any]
ROWS: list[Row] = [
    # kube-prometheus-stack sees only what has its label.
    *(
        ("cpu", (), kind, "metadata/labels/release", "kube-prometheus-stack")
        for kind in ("PodMonitor", "PrometheusRule")
    ),
    # A moved head, Redis or job costs more than a node that stays.
    *(
        ("cpu", EVERYTHING, pod, f"metadata/annotations/{name}", value)
        for pod in ("head", "redis", "job")
        for name, value in ((EVICT, "false"), (DISRUPT, "true"))
    ),
    *(
        ("cpu", EVERYTHING, pod, f"spec/containers/0/{STORAGE}", size)
        for pod, size in {
            "head": "4Gi",
            "classifier": "6Gi",
            "explainer": "6Gi",
            "job": "6Gi",
            "loader": "1Gi",
        }.items()
    ),
    # Workers that answer stay for a day without a head.
    *(("cpu", (), pod, RESTARTS, "86400") for pod in ("classifier", "explainer")),
    # A replica answers a new head soon after the old one's node has left the network.
    *(("cpu", (), pod, LOST_NODES, "10000") for pod in ("head", "classifier", "explainer")),
    *(
        ("cpu", EVERYTHING, pod, f"spec/containers/ray/env/{name}/value", value)
        for pod in ("head", "classifier", "explainer", "job")
        for name, value in (
            ("RAY_ROTATION_MAX_BYTES", "16777216"),
            ("RAY_ROTATION_BACKUP_COUNT", "2"),
            ("RAY_USAGE_STATS_ENABLED", "0"),
        )
    ),
    *(
        ("cpu", AUTHORITY, pod, path, value)
        for pod in ("head", "classifier", "explainer")
        for path, value in (
            ("spec/volumes/redis-ca/secret/secretName", "authority"),
            ("spec/containers/ray/volumeMounts/redis-ca/mountPath", "/etc/redis"),
            ("spec/containers/ray/env/RAY_REDIS_CA_CERT/value", "/etc/redis/ca.crt"),
        )
    ),
    *(
        ("cpu", (*EVERYTHING, *VOLUME, *VARIABLES), pod, path, value)
        for pod in ("head", "classifier", "explainer", "job")
        for path, value in (
            ("spec/volumes/extra/emptyDir/sizeLimit", "1Mi"),
            ("spec/containers/ray/volumeMounts/extra/mountPath", "/extra"),
            ("spec/containers/ray/env/HTTPS_PROXY/value", "http://proxy:3128"),
            ("spec/containers/ray/envFrom/0/configMapRef/name", "more"),
        )
    ),
    *(
        ("cpu", (*EVERYTHING, "--set=pods.annotations.team=a"), pod, TEAM, "a")
        for pod in ("head", "classifier", "explainer", "job")
    ),
    *(
        ("cpu", ("--set=commonAnnotations.team=a",), kind, TEAM, "a")
        for kind in ("RayService", "StatefulSet", "ServiceAccount", "HTTPRoute")
    ),
    *(
        ("cpu", EVERYTHING, pod, "spec/imagePullSecrets/0/name", "registry")
        for pod in ("head", "classifier", "redis", "job", "submitter", "loader", "headroom")
    ),
    ("cpu", (), "HTTPRoute", TIMEOUT, "75s"),
    ("cpu", ("--set=httpRoute.requestTimeout=2m",), "HTTPRoute", TIMEOUT, "2m"),
    ("kind", ("--set=service.type=NodePort",), "RayService", TYPE, "NodePort"),
    (
        "kind",
        ("--set=service.annotations.scheme=internal",),
        "RayService",
        "spec/serveService/metadata/annotations/scheme",
        "internal",
    ),
    (
        "cpu",
        ("--set=serviceAccount.annotations.role=reader",),
        "ServiceAccount",
        "metadata/annotations/role",
        "reader",
    ),
    # Two replicas of half a GPU in a pod with one.
    ("gpu", HALF, "classifier", "spec/containers/ray/resources/limits/nvidia.com/gpu", 1),
    ("gpu", HALF, "classifier", "spec/runtimeClassName", "nvidia"),
    ("gpu", HALF, "RayService", f"{WORKERS}/rayStartParams/num-gpus", "1"),
    # A date is a number in YAML.
    ("kind", TODAY, "RayJob", "metadata/name", "pintag-train-20261201"),
    ("kind", TODAY, "classifier", "spec/containers/0/image", "pintag:20261201"),
    # Pods that decode images of strangers cannot change models.
    ("cpu", FOLLOW, "classifier", "spec/containers/ray/volumeMounts/models/readOnly", True),
    ("cpu", FOLLOW, "classifier", "spec/volumes/models/persistentVolumeClaim/readOnly", True),
    # The room of a pod with a GPU is on a node with a GPU.
    ("gpu", HEADROOM, "headroom", "spec/containers/0/resources/limits/nvidia.com/gpu", 1),
    ("gpu", HEADROOM, "headroom", "spec/tolerations/2/key", "nvidia.com/gpu"),
    *(
        ("cpu", (*EVERYTHING, *QUEUE), kind, "metadata/labels/queue", "night")
        for kind in ("RayJob", "Job")
    ),
    # Jobs are placed on nodes of their own, and their heads need no GPU.
    *(
        ("cpu", PLACE, pod, path, value)
        for pod in ("job", "load-master", "load-worker")
        for path, value in (
            ("spec/nodeSelector/pool", "spot"),
            ("spec/tolerations/2/key", "spot"),
            ("spec/affinity", {"nodeAffinity": {}}),
        )
    ),
    ("cpu", JOB_GPU, "RayJob", f"{JOB_WORKERS}/containers/0/resources/limits/nvidia.com/gpu", 2),
    ("cpu", JOB_GPU, "RayJob", f"{JOB_WORKERS}/runtimeClassName", "nvidia"),
    ("cpu", JOB_GPU, "job", "spec/containers/ray/resources/limits", {"memory": "12Gi"}),
]  # fmt: skip


def found(example: str, options: tuple[str, ...], what: str) -> Object:
    """The first object of a kind, or the first template of a pod with a component."""
    if what[0].isupper():
        kinds = [each for each in objects(example, *options) if each["kind"] == what]
        # A Job that loads a bundle belongs to no queue.
        return next(each for each in kinds if "-load-" in each["metadata"]["name"] or what != "Job")
    return next(
        each
        for each in templates(objects(example, *options))
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == what
    )


def at(node: Any, path: str) -> Any:
    """What is at a path; items of lists go by their number or their name."""
    steps = path.split("/")
    while steps:
        if isinstance(node, list):
            step = steps.pop(0)
            node = (
                node[int(step)]
                if step.isdigit()
                else next(each for each in node if each["name"] == step)
            )
        else:
            # Labels and annotations have slashes in their names.
            names = ["/".join(steps[:count]) for count in range(len(steps), 0, -1)]
            name = next(each for each in names if each in node)
            del steps[: name.count("/") + 1]
            node = node[name]
    return node


@pytest.mark.parametrize(("example", "options", "what", "path", "expected"), ROWS)
def test_it_is_in_its_place(
    example: str, options: tuple[str, ...], what: str, path: str, expected: object
) -> None:
    assert at(found(example, options, what), path) == expected


@pytest.mark.parametrize("kind", ["classifier", "explainer"])
def test_pods_of_workers_spread_over_hosts_and_zones(kind: str) -> None:
    constraints = found("cpu", (), kind)["spec"]["topologySpreadConstraints"]
    keys = {each["topologyKey"]: each for each in constraints}
    assert keys.keys() == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for each in keys.values():
        assert (each["maxSkew"], each["whenUnsatisfiable"]) == (1, "ScheduleAnyway")
        assert each["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == kind
        assert each["matchLabelKeys"] == ["ray.io/cluster"]


@pytest.mark.parametrize(
    ("example", "options", "words"),
    [
        ("kind", ("--set=settings.explainer.num_gpus=1",), "explainer.gpu.count is 0"),
        ("gpu", ("--set=classifier.replicasPerPod=2",), "num_gpus is 2, but classifier.gpu.count"),
        ("kind", (f"--set=commonLabels.{NAME}=a",), "cannot have app.kubernetes.io/name"),
        ("kind", (f"--set=pods.labels.{NAME}=a",), "cannot have app.kubernetes.io/name"),
    ],
)
def test_what_would_never_come_up_is_refused(
    example: str, options: tuple[str, ...], words: str
) -> None:
    assert words in refusal(example, *options)
