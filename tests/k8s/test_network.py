"""Who may connect to whom, by the NetworkPolicies that the chart renders."""

from __future__ import annotations

from tests.k8s.rendering import Object, cluster, helm, objects, one

pytestmark = helm

# The labels of KubeRay's operator in its Helm chart, and in its kustomization.
OPERATORS = (
    {"app.kubernetes.io/name": "kuberay-operator"},
    {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"},
)


def sources(port: int, pod: dict[str, str], *options: str) -> list[Object] | None:
    """Who may connect to a port of a pod with these labels; None: everybody."""
    found: list[Object] = []
    for policy in objects("cpu", *options):
        if policy["kind"] == "NetworkPolicy" and selects(policy["spec"]["podSelector"], pod):
            for rule in policy["spec"].get("ingress", []):
                if "ports" not in rule or port in [each["port"] for each in rule["ports"]]:
                    if "from" not in rule:
                        return None
                    found += rule["from"]
    return found


def selects(selector: Object, labels: dict[str, str]) -> bool:
    wanted_keys = {each["key"] for each in selector.get("matchExpressions", [])}
    return (
        selector.get("matchLabels", {}).items() <= labels.items() and wanted_keys <= labels.keys()
    )


def admits(rules: list[Object], namespace: str, labels: dict[str, str]) -> bool:
    """Whether a pod of another namespace is admitted."""
    return any(
        "namespaceSelector" in rule
        and selects(rule["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
        and selects(rule.get("podSelector", {}), labels)
        for rule in rules
    )


def labels(kind: str) -> dict[str, str]:
    """The labels of a pod as KubeRay makes it."""
    service = cluster(one("RayService", "cpu"))
    groups = {"head": service["headGroupSpec"]}
    groups |= {group["groupName"]: group for group in service["workerGroupSpecs"]}
    own: dict[str, str] = groups[kind]["template"]["metadata"]["labels"]
    node = "head" if kind == "head" else "worker"
    serve = "false" if kind == "head" else "true"
    return {**own, "ray.io/cluster": "c", "ray.io/node-type": node, "ray.io/serve": serve}


def test_rays_own_ports_are_closed_to_other_pods() -> None:
    """A client of the dashboard, the control store or Ray's client port can run code."""
    for port in (6379, 10001, 52365):
        rules = sources(port, labels("head"))
        assert rules
        assert not admits(rules, "default", {})
        assert not admits(rules, "default", OPERATORS[0])
    rules = sources(8265, labels("head"))
    assert rules
    assert not admits(rules, "default", {})


def test_the_operator_reaches_the_head_by_either_of_its_labels() -> None:
    rules = sources(8265, labels("head"))
    assert rules
    for operator in OPERATORS:
        assert admits(rules, "anywhere", operator)
        assert not admits(sources(8080, labels("head")) or [], "anywhere", operator)


def test_every_pod_of_the_installation_reaches_redis_and_the_clean_up_pod_too() -> None:
    """The operator's clean-up pod has the head's labels, but another node type."""
    redis = one("StatefulSet", "cpu")["spec"]["template"]["metadata"]["labels"]
    rules = sources(6379, redis)
    assert rules is not None
    for pod in (labels("head"), labels("classifier"), labels("explainer")):
        pod["ray.io/node-type"] = "redis-cleanup"
        assert any("podSelector" in rule and selects(rule["podSelector"], pod) for rule in rules)


def test_uploads_reach_workers_and_can_be_restricted() -> None:
    assert sources(8000, labels("classifier")) is None
    block = '{"ipBlock": {"cidr": "10.0.0.0/8"}}'
    rules = sources(8000, labels("classifier"), f"--set-json=networkPolicy.uploads=[{block}]")
    assert rules
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in rules
    assert not admits(sources(8000, labels("head")) or [], "default", {})


def test_prometheus_reads_metrics_and_nothing_else() -> None:
    for port, expected in ((8080, True), (9101, True), (8265, False)):
        rules = sources(port, labels("classifier"))
        assert rules is not None
        assert admits(rules, "monitoring", {}) is expected


def test_pods_connect_to_nothing_unnamed() -> None:
    (policy,) = [
        each["spec"]
        for each in objects("cpu")
        if each["kind"] == "NetworkPolicy" and "Egress" in each["spec"]["policyTypes"]
    ]
    assert policy["podSelector"].keys() == {"matchLabels"}
    assert all("to" in rule or "ports" in rule for rule in policy["egress"])
    ports = {port["port"] for rule in policy["egress"] for port in rule.get("ports", [])}
    # The API server is behind 6443 or, on minikube, 8443, and DNS behind 53 or, on OpenShift, 5353.
    assert ports == {53, 5353, 443, 6443, 8443}


def test_the_pod_monitor_names_ports_of_the_pods() -> None:
    monitor = one("PodMonitor", "cpu")["spec"]
    for kind in ("classifier", "explainer"):
        assert selects({"matchLabels": monitor["selector"]["matchLabels"]}, labels(kind))
        (group,) = [
            each
            for each in cluster(one("RayService", "cpu"))["workerGroupSpecs"]
            if each["groupName"] == kind
        ]
        (container,) = group["template"]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports
