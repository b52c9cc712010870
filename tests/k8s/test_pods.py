"""Pods on Kubernetes: rights, probes, ports, and the time that they have to drain."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest
from ray.autoscaler._private.constants import AUTOSCALER_METRIC_PORT

from scripts import chart
from tests.k8s.rendering import (
    EVERYTHING,
    Object,
    cluster,
    helm,
    objects,
    one,
    refusal,
    templates,
)

pytestmark = helm

NAMES = [path.stem for path in chart.EXAMPLES]


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def containers(template: Object) -> list[Object]:
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_every_container_is_restricted(example: str) -> None:
    """As the Pod Security Standard `restricted` requires, and with a read-only root file system."""
    for template in templates(objects(example, *EVERYTHING)):
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        assert template["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_user_and_group_can_be_left_to_the_cluster() -> None:
    keys = ("runAsUser", "runAsGroup", "fsGroup")
    options = [
        f"--set={owner}podSecurityContext.{key}=null" for owner in ("", "redis.") for key in keys
    ]
    for template in templates(objects("cpu", *EVERYTHING, *options)):
        assert not set(keys) & template["spec"]["securityContext"].keys()


def test_processors_can_be_limited() -> None:
    """For namespaces with a quota of `limits.cpu`."""
    groups = ("head", "head.autoscaler", "classifier", "explainer", "redis", "jobs")
    options = [f"--set={group}.resources.limits.cpu=4" for group in groups]
    for template in templates(objects("cpu", *EVERYTHING, *options)):
        assert all("cpu" in each["resources"]["limits"] for each in containers(template))


def test_every_mount_has_its_volume_and_every_volume_a_limit(example: str) -> None:
    for template in templates(objects(example, *EVERYTHING)):
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        for container in containers(template):
            mounts = container.get("volumeMounts", [])
            assert {mount["name"] for mount in mounts} <= volumes.keys() | {"data"}
            assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
        for volume in volumes.values():
            assert volume.get("emptyDir", {"sizeLimit": 1}).get("sizeLimit")


def test_an_image_is_never_pulled_at_each_start(example: str) -> None:
    """An image without a tag, or with `latest`, is: `kind load` would not help."""
    for template in templates(objects(example, *EVERYTHING)):
        for container in containers(template):
            name, _, tag = container["image"].rpartition(":")
            assert name
            assert tag not in ("", "latest")
            assert container["imagePullPolicy"] == "IfNotPresent"
    digest = f"sha256:{'0' * 64}"
    head = cluster(one("RayService", "cpu", f"--set=image.digest={digest}"))["headGroupSpec"]
    assert containers(head["template"])[0]["image"] == f"registry.example.com/pintag@{digest}"


def test_the_head_has_the_ports_that_kuberay_looks_for() -> None:
    for manifest in objects("cpu", *EVERYTHING):
        if manifest["kind"] in ("RayService", "RayJob"):
            (head,) = containers(cluster(manifest)["headGroupSpec"]["template"])
            ports = {port["name"]: port["containerPort"] for port in head["ports"]}
            assert ports["dashboard"] == 8265
            assert (ports.get("serve") == 8000) == (manifest["kind"] == "RayService")


def test_the_head_keeps_the_name_by_which_its_service_finds_it() -> None:
    for template in templates(objects("cpu", *EVERYTHING)):
        assert "app.kubernetes.io/name" not in template["metadata"]["labels"]


def test_resources_of_ray_are_json_in_single_quotes(example: str) -> None:
    """KubeRay takes off the quotes and parses the rest; a shell reads the quotes."""
    service = one("RayService", example)
    for group in cluster(service)["workerGroupSpecs"]:
        text = group["rayStartParams"]["resources"]
        assert text[0] == text[-1] == "'"
        assert json.loads(text.strip("'")).keys() == {group["groupName"]}


def test_the_object_store_fits_into_shared_memory(example: str) -> None:
    for manifest in objects(example, *EVERYTHING):
        if manifest["kind"] not in ("RayService", "RayJob"):
            continue
        for group in [cluster(manifest)["headGroupSpec"], *cluster(manifest)["workerGroupSpecs"]]:
            (limit,) = [
                volume["emptyDir"]["sizeLimit"]
                for volume in group["template"]["spec"]["volumes"]
                if volume["name"] == "shm"
            ]
            units = {"Mi": 2**20, "Gi": 2**30}
            store = int(group["rayStartParams"]["object-store-memory"])
            assert 80 * 2**20 < store < int(limit[:-2]) * units[limit[-2:]]


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ((), False),
        (("--set=bundle.uri=s3://bucket/models/pins/1",), True),
        (("--set=bundle.volume.enabled=true",), True),
        (("--set=bundle.image.reference=registry.example.com/pins:1",), True),
    ],
    ids=["in the image", "object storage", "a volume", "an image"],
)
def test_pods_of_replicas_first_verify_a_bundle_that_is_not_in_their_image(
    options: tuple[str, ...], waits: bool
) -> None:
    service = one("RayService", "kind", *options)
    uri = next(
        (each.partition("bundle.uri=")[2] for each in options if "uri=" in each), "/models/pins"
    )
    for group in cluster(service)["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        first = spec.get("initContainers", [])
        commands = [each["startupProbe"]["exec"]["command"] for each in first]
        assert commands == waits * [["pintag", "models", "fetch", uri, "--no-registry"]]
        for each in first:
            assert each["restartPolicy"] == "Always"
            assert each["volumeMounts"] == spec["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(("uri", "follow"), [("/models/pins/1", "false"), ("/models/pins", "true")])
def test_a_loaded_bundle_is_a_version_of_the_registry_of_the_server(uri: str, follow: str) -> None:
    bundle = f"--set=bundle.uri={uri},bundle.follow={follow},bundle.volume.enabled=true"
    job = one("Job", "kind", bundle, "--set=bundle.volume.loadFrom=s3://bucket/pins/1")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["models", "add", "--use", "s3://bucket/pins/1", "/models/pins"]


def test_headroom_gives_way_at_once() -> None:
    options = ("--set=headroom.pods=2", "--set=priorityClasses.create=true")
    spec = one("Deployment", "cpu", *options)["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 0
    values = {
        each["metadata"]["name"]: each["value"]
        for each in objects("cpu", *options)
        if each["kind"] == "PriorityClass"
    }
    assert values[spec["template"]["spec"]["priorityClassName"]] == min(values.values()) < 0
    classifier = cluster(one("RayService", "cpu"))["workerGroupSpecs"][0]["template"]
    assert containers(spec["template"])[0]["resources"] == containers(classifier)[-1]["resources"]
    assert "priority below 0" in refusal("kind", "--set=headroom.pods=2")


@pytest.mark.parametrize("stopping", [60, 7.5, 200])
@pytest.mark.parametrize("drain", [0, 5, 30])
def test_a_worker_has_time_to_drain(example: str, drain: int, stopping: float) -> None:
    """The pause before SIGTERM, Ray's drain, and the end of its processes, one after the other."""
    options = [f"--set=settings.http.drain_s={drain}"]
    options += [
        f"--set-json=settings.{kind}.graceful_shutdown_timeout_s={stopping}"
        for kind in ("classifier", "explainer")
    ]
    service = one("RayService", example, *options)
    for group in cluster(service)["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        _, pause = container["lifecycle"]["preStop"]["exec"]["command"]
        probe = container["readinessProbe"]
        # Until its probe has failed, a pod that does not answer is in the Service.
        notice = probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"])
        assert int(pause) > max(drain, notice)
        ray = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert ray >= drain + stopping
        assert pod["terminationGracePeriodSeconds"] >= int(pause) + ray + 10
        assert service["spec"]["rayClusterDeletionDelaySeconds"] > 5


def test_probes_are_our_own() -> None:
    """KubeRay's would take a pod that answers out of the Service while the head is away."""
    head, *workers = (
        containers(group["template"])[-1]
        for service in [one("RayService", "cpu")]
        for group in [cluster(service)["headGroupSpec"], *cluster(service)["workerGroupSpecs"]]
    )
    assert head["readinessProbe"]["httpGet"] == {"path": "/api/gcs_healthz", "port": "dashboard"}
    code = head["livenessProbe"]["exec"]["command"][-1]
    compile(code, "probe", "exec")
    assert "/api/local_raylet_healthz" in code
    assert f"{AUTOSCALER_METRIC_PORT}/metrics" in code
    for worker in workers:
        assert worker["readinessProbe"]["httpGet"] == {"path": "/-/healthz?node", "port": "serve"}
        assert worker["readinessProbe"]["failureThreshold"] > 1
        assert worker["livenessProbe"]["httpGet"]["path"] == "/api/local_raylet_healthz"


def test_a_node_without_replicas_is_out_of_the_service_before_it_stops_answering(
    example: str,
) -> None:
    """It answers for drain_s. Then its proxy ends, and connections are refused."""
    service = one("RayService", example)
    for group in cluster(service)["workerGroupSpecs"]:
        (*_, container) = containers(group["template"])
        variables = {each["name"]: each.get("value") for each in container["env"]}
        probe = container["readinessProbe"]
        noticed = probe["failureThreshold"] * probe["periodSeconds"]
        assert noticed + 2 <= float(variables["RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S"])


def test_a_budget_names_how_many_must_stay() -> None:
    """Kubernetes cannot count a share of a RayCluster's pods: it would allow no eviction."""
    budgets = [each for each in objects("cpu") if each["kind"] == "PodDisruptionBudget"]
    groups = {
        group["groupName"]: group["minReplicas"]
        for group in cluster(one("RayService", "cpu"))["workerGroupSpecs"]
    }
    # A group of one has no budget: it could never be drained.
    assert groups == {"classifier": 2, "explainer": 1}
    (budget,) = budgets
    assert budget["spec"]["minAvailable"] == 1
    assert "maxUnavailable" not in budget["spec"]
    selected = budget["spec"]["selector"]["matchLabels"]
    assert selected["app.kubernetes.io/component"] == "classifier"


def test_a_dead_node_is_given_up_after_half_a_minute() -> None:
    for template in templates(objects("cpu")):
        seconds = {
            each["key"]: each["tolerationSeconds"] for each in template["spec"]["tolerations"]
        }
        assert seconds == {
            "node.kubernetes.io/unreachable": 30,
            "node.kubernetes.io/not-ready": 30,
        }


def test_a_job_that_is_run_again_has_another_name() -> None:
    """A RayJob that has ended does not start again, and a Job cannot be changed."""
    first, second = (
        {
            each["metadata"]["name"]
            for each in objects(
                "cpu", *EVERYTHING, *(f"--set=jobs.{job}.run={run}" for job in jobs)
            )
            if each["kind"] in ("RayJob", "Job") and "-load-" not in each["metadata"]["name"][:15]
        }
        for jobs in [("train", "retrain", "study", "bulk")]
        for run in (1, 2)
    )
    assert len(first) == 4
    assert not first & second


def test_a_model_that_is_trained_again_goes_into_the_registry() -> None:
    options = ("--set=jobs.retrain.enabled=true", "--set=jobs.retrain.run=may")
    command = shlex.split(one("RayJob", "cpu", *options)["spec"]["entrypoint"])
    # `ray job submit` gets the words from a shell, and joins them for another.
    assert shlex.split(subprocess.list2cmdline(command)) == command
    shell, option, steps = command
    assert (shell, option) == ("sh", "-c")
    train, optimize, add = (shlex.split(step) for step in steps.split("&&"))
    folder = train[train.index("--out") + 1]
    assert folder == "/models/runs/pins-may"
    assert optimize[:3] == ["pintag", "optimize", folder]
    assert add == ["pintag", "models", "add", "--use", folder, "/models/pins"]


def test_a_finished_job_soon_frees_its_nodes() -> None:
    job = one("RayJob", "cpu", "--set=jobs.train.enabled=true")
    assert job["spec"]["shutdownAfterJobFinishes"]
    assert job["spec"]["ttlSecondsAfterFinished"] <= 60


def test_the_head_needs_nothing_that_ends_with_the_release() -> None:
    """KubeRay makes the pod that cleans up Redis of the head's template, after an uninstallation.

    Without its priority class or claim a pod does not start, and the RayCluster stays for minutes.
    """
    manifests = objects("cpu", *EVERYTHING)
    own = {each["metadata"]["name"] for each in manifests if each["kind"] != "Service"}
    pod = cluster(one("RayService", "cpu", *EVERYTHING))["headGroupSpec"]["template"]["spec"]
    needed = {pod.get("priorityClassName"), pod.get("serviceAccountName")}
    for volume in pod["volumes"]:
        needed.add(volume.get("persistentVolumeClaim", {}).get("claimName"))
        needed.add(volume.get("secret", {}).get("secretName"))
    for variable in pod["containers"][0]["env"]:
        needed.add(variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name"))
    # Redis's Secret is the user's own; its StatefulSet has the same name.
    secrets = {each["metadata"]["name"] for each in manifests if each["kind"] == "Secret"}
    assert secrets == set()
    assert needed & own <= {"pintag-redis"}


def test_tags_go_before_explanations_and_both_before_jobs() -> None:
    manifests = objects("cpu", *EVERYTHING)
    classes = {
        each["metadata"]["name"]: each["value"]
        for each in manifests
        if each["kind"] == "PriorityClass"
    }
    priorities: dict[str, set[int]] = {}
    for template in templates(manifests):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        name = template["spec"].get("priorityClassName")
        priorities.setdefault(component, set()).add(classes.get(name, 0))
    assert priorities["classifier"] == priorities["head"] == priorities["redis"] == {0}
    assert 0 > max(priorities["explainer"]) > max(priorities["job"])
