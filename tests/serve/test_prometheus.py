"""A real Prometheus beside a running server: it finds it, and every question has an answer."""

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

from serve import keys
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
        not shutil.which("prometheus"), reason="no prometheus here (Debian's package prometheus)"
    ),
]

MONITORING = ROOT / "k8s/components/monitoring"
KEY = keys.create()
# README.md names them.
METRICS = sorted(set(re.findall(r"ray_pintag_\w+", (ROOT / "README.md").read_text())))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture(scope="module")
def server(quick_dir: Path, place: Path) -> Iterator[Server]:
    """One that asks for keys, and tries a candidate: the bundle that it serves."""
    known = {"name": "uploads", "sha256": keys.digest(KEY), "per_second": 1000}
    (place / "keys.yaml").write_text(yaml.safe_dump({"keys": [known]}))
    settings = (
        f"access.keys={place / 'keys.yaml'}", f"candidate.bundle={quick_dir}",
        "candidate.shadow=0.7", "candidate.canary=0.3",
    )  # fmt: skip
    with serving(quick_dir, place / "log", *settings) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(server: Server, quick_dir: Path, place: Path, sample_dir: Path) -> Iterator[str]:
    """Its address, once it has seen requests of every kind for a while."""
    port = free_port()
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]
    for group in rules["groups"]:
        group["interval"] = "2s"
    (place / "rules.yaml").write_text(yaml.safe_dump(rules))
    metrics = httpx.URL(server.metrics_url).port
    printed = subprocess.run(
        [PINTAG, "serve", "--bundle", quick_dir, "--prometheus", f"metrics.port={metrics}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = yaml.safe_load(printed.stdout)
    for job in config["scrape_configs"]:
        job["scrape_interval"] = "2s"
    # Another server may have had its port: that of this one's HAProxy.
    config["scrape_configs"][1]["static_configs"][0]["targets"] = [exporter(server)]
    (place / "prometheus.yaml").write_text(yaml.safe_dump({**config, "rule_files": ["rules.yaml"]}))
    command = [
        "prometheus", f"--config.file={place / 'prometheus.yaml'}",
        f"--storage.tsdb.path={place / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with launched(command, place / "prometheus.log"):
        wait_for(
            lambda: value(url, "sum(ray_pintag_candidate_up)") == 2,
            90,
            "a scrape",
        )
        photograph = next((sample_dir / "test").rglob("*.jpg")).read_bytes()
        # Rates are of what changes between two reports of Ray's.
        for turn in range(2):
            ask(server, photograph, turn)
            seen = total(url)
            wait_for(lambda seen=seen: total(url) > seen, 60, "a report")  # type: ignore[misc]
        yield url


def exporter(server: Server) -> str:
    """Where this server's HAProxy tells its metrics."""
    text = haproxy_config(server.process)
    found = re.search(r"bind (\S+)\n(?:.*\n){0,6}?.*prometheus-exporter", text)
    assert found, text
    return found[1]


def ask(server: Server, photograph: bytes, turn: int) -> None:
    """Requests of every kind, of images that no cache knows."""
    headers = {"Authorization": f"Bearer {KEY}"}
    fresh = [photograph + bytes([turn, number]) for number in range(40)]
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        for image in fresh[:20]:
            client.post("/v1/tags", content=image)
        # Where there are several, they wait for each other.
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
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def value(url: str, expression: str) -> float:
    try:
        found = query(url, expression)
    # It listens before it answers, and says so in plain text.
    except (httpx.TransportError, json.JSONDecodeError):
        return 0
    return float(found[0]["value"][1]) if found else 0


def total(url: str) -> float:
    return value(
        url, "sum(ray_pintag_total_seconds_count) + sum(ray_pintag_explanation_seconds_count)"
    )


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_that_the_readme_names_is_there(prometheus: str, name: str) -> None:
    wanted = (
        name
        if name.endswith(("_total", "_info", "_bytes", "_ongoing", "_created_seconds", "_up"))
        else f"{name}_count"
    )
    found = query(prometheus, wanted)
    assert found
    assert {"application", "deployment", "replica"} <= found[0]["metric"].keys()


def test_latencies_fall_into_buckets_that_tell_them_apart(prometheus: str) -> None:
    edges = query(prometheus, "count by (le) (ray_pintag_total_seconds_bucket)")
    seconds = sorted(float(each["metric"]["le"]) for each in edges)
    assert len([edge for edge in seconds if edge <= 1]) >= 8
    assert seconds[-1] == float("inf")


def test_one_client_s_images_are_what_ray_scales_by(
    server: Server, prometheus: str, sample_dir: Path
) -> None:
    """They are worked on in the event loop, where a sample of Ray's never meets them."""
    photograph = next((sample_dir / "test").rglob("*.jpg")).read_bytes()
    headers = {"Authorization": f"Bearer {KEY}"}
    wanted = 'sum(ray_serve_autoscaling_total_requests{application="classifier"})'
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        numbers = itertools.count()

        def counts() -> bool:
            for _ in range(50):
                fresh = photograph + next(numbers).to_bytes(4)
                client.post("/v1/tags", content=fresh).raise_for_status()
            return value(prometheus, wanted) > 0.05

        wait_for(counts, 60, "a report of what the replicas do")


def panels() -> list[tuple[str, str]]:
    """The queries of the dashboard, by their panels."""
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
    asked = expression.replace("$__rate_interval", "2m").replace("ratio_rate1h", "ratio_rate5m")

    def has_data() -> bool:
        found = query(prometheus, asked)
        return bool(found) and all(each["value"][1] != "NaN" for each in found)

    wait_for(has_data, 30, title)


def test_every_rule_is_evaluated_and_none_fires(prometheus: str) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), 30, "the rules")
    assert len(rules()) == 21
    assert {rule["health"] for rule in rules()} == {"ok"}
    assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []
