"""A real Prometheus scrapes a running server, and every query of the dashboard has data."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pintag.models.manifest import MANIFEST
from pintag.serve.auth import api_keys
from tests.conftest import (
    PINTAG,
    ROOT,
    Server,
    free_port,
    haproxy_config,
    launched,
    serving,
    wait_for,
)

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(
        not shutil.which("prometheus"), reason="prometheus is not installed (Debian's package)"
    ),
]

MONITORING = ROOT / "k8s/chart/files"
KEY = api_keys.create()
# The metrics in the guide. A test in tests/docs compares the guide with the declared metrics.
GUIDE = (ROOT / "docs/how-to/monitor.md").read_text()
# Without the endings that only queries have.
METRICS = sorted(set(re.findall(r"ray_pintag_\w+?(?=(?:_bucket|_count)?\b)", GUIDE)))
QUERIES = [
    line
    for block in re.findall(r"```promql\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture(scope="module")
def server(quick_dir: Path, folder: Path) -> Iterator[Server]:
    """A server with API keys and a candidate, which is the same network as another version."""
    candidate = Path(shutil.copytree(quick_dir, folder / "candidate"))
    manifest = json.loads((candidate / MANIFEST).read_text())
    (candidate / MANIFEST).write_text(json.dumps({**manifest, "version": "candidate"}))
    key = {"name": "uploads", "sha256": api_keys.digest(KEY), "per_second": 1000}
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": [key]}))
    settings = (
        f"access.keys={folder / 'keys.yaml'}", f"candidate.bundle={candidate}",
        "candidate.shadow=0.7", "candidate.canary=0.3",
    )  # fmt: skip
    with serving(quick_dir, folder / "log", *settings) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(server: Server, quick_dir: Path, folder: Path, sample_dir: Path) -> Iterator[str]:
    """The address of a Prometheus that has scraped requests of every kind several times."""
    port = free_port()
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    for group in rules["groups"]:
        group["interval"] = "2s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    metrics = httpx.URL(server.metrics_url).port
    printed = subprocess.run(
        [PINTAG, "serve", "--bundle", quick_dir, "--prometheus", f"metrics.port={metrics}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = yaml.safe_load(printed.stdout)
    for job in config["scrape_configs"]:
        job["scrape_interval"] = "2s"
        # As the chart's PodMonitor labels every series.
        job["static_configs"][0]["labels"] = {"server": "NAMESPACE/SERVER"}
    # Another server may use the default port, so take that of this server's HAProxy.
    config["scrape_configs"][1]["static_configs"][0]["targets"] = [exporter(server)]
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump({**config, "rule_files": ["rules.yaml"]})
    )
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with launched(command, folder / "prometheus.log"):
        wait_for(
            lambda: value(url, "sum(ray_pintag_candidate_up)") == 2,
            90,
            "a scrape",
        )
        photograph = next((sample_dir / "test").rglob("*.jpg")).read_bytes()
        # A rate needs a change between two of Ray's reports.
        for turn in range(2):
            send_requests(server, photograph, turn)
            before = total(url)
            wait_for(lambda before=before: total(url) > before, 60, "a report")  # type: ignore[misc]
        yield url


def exporter(server: Server) -> str:
    """The address of the metrics of this server's HAProxy."""
    text = haproxy_config(server.process)
    match = re.search(r"bind (\S+)\n(?:.*\n){0,6}?.*prometheus-exporter", text)
    assert match, text
    return match[1]


def send_requests(server: Server, photograph: bytes, turn: int) -> None:
    """Send requests of every kind, with images that are in no cache."""
    headers = {"Authorization": f"Bearer {KEY}"}
    fresh = [photograph + bytes([turn, number]) for number in range(40)]
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        for image in fresh[:20]:
            client.post("/v1/tags", content=image)
        # Several images in one request share batches.
        several = b"".join(len(image).to_bytes(4) + image for image in fresh[20:])
        client.post("/v1/tags:batch", content=several)
        client.post("/v1/tags", content=fresh[0])
        client.post("/v1/tags?min_confidence=1", content=photograph)
        client.post("/v1/tags", content=b"no picture")
        client.post("/v1/explanations?num_samples=64&mode=stable", content=fresh[0])
        client.post("/v1/tags", content=photograph, headers={"Authorization": "Bearer nobody"})


def query(url: str, expression: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def value(url: str, expression: str) -> float:
    try:
        result = query(url, expression)
    # Prometheus listens before it is ready, and then answers in plain text.
    except (httpx.TransportError, json.JSONDecodeError):
        return 0
    return float(result[0]["value"][1]) if result else 0


def total(url: str) -> float:
    return value(
        url, "sum(ray_pintag_total_seconds_count) + sum(ray_pintag_explanation_seconds_count)"
    )


@pytest.mark.parametrize("name", METRICS)
def test_every_documented_metric_exists(prometheus: str, name: str) -> None:
    expected = (
        name
        if name.endswith(("_total", "_info", "_bytes", "_ongoing", "_created_seconds", "_up"))
        else f"{name}_count"
    )
    result = query(prometheus, expected)
    assert result
    assert {"application", "deployment", "replica"} <= result[0]["metric"].keys()


@pytest.mark.parametrize("expression", QUERIES)
def test_every_query_of_the_guide_has_a_result(prometheus: str, expression: str) -> None:
    assert query(prometheus, expression)


def test_latency_buckets_are_fine_enough(prometheus: str) -> None:
    edges = query(prometheus, "count by (le) (ray_pintag_total_seconds_bucket)")
    seconds = sorted(float(bucket["metric"]["le"]) for bucket in edges)
    assert len([edge for edge in seconds if edge <= 1]) >= 8
    assert seconds[-1] == float("inf")


def test_the_images_of_a_single_client_count_for_autoscaling(
    server: Server, prometheus: str, sample_dir: Path
) -> None:
    """They are processed in the event loop, so Ray's own samples never count them."""
    photograph = next((sample_dir / "test").rglob("*.jpg")).read_bytes()
    headers = {"Authorization": f"Bearer {KEY}"}
    requests = 'sum(ray_serve_autoscaling_total_requests{application="classifier"})'
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        numbers = itertools.count()

        def is_counted() -> bool:
            for _ in range(50):
                fresh = photograph + next(numbers).to_bytes(4)
                client.post("/v1/tags", content=fresh).raise_for_status()
            return value(prometheus, requests) > 0.05

        wait_for(is_counted, 60, "a report of the replicas' requests")


def panels() -> list[tuple[str, str]]:
    """The panel and the expression of each query of the dashboard."""
    dashboard = json.loads((MONITORING / "pintag.json").read_text())
    return [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


@pytest.mark.parametrize(("title", "expression"), panels())
def test_every_panel_of_the_dashboard_has_data(
    prometheus: str, title: str, expression: str
) -> None:
    query_text = (
        expression.replace("$__rate_interval", "2m")
        .replace("ratio_rate1h", "ratio_rate5m")
        .replace("$server", ".*")
    )

    def has_data() -> bool:
        result = query(prometheus, query_text)
        return bool(result) and all(series["value"][1] != "NaN" for series in result)

    wait_for(has_data, 30, title)


def test_every_rule_is_evaluated_and_none_fires(prometheus: str) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), 30, "the rules")
    assert len(rules()) == 22
    assert {rule["health"] for rule in rules()} == {"ok"}
    assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []
