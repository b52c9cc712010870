"""The environment variables that are set before Ray starts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pintag.serve.config import HttpConfig, LogConfig, MetricsConfig, ServeConfig
from pintag.serve.deployment_config import ClassifierConfig, ExplainerConfig, ImageConfig
from pintag.serve.ingress.installation import has_haproxy
from pintag.serve.nodes import ports
from pintag.serve.nodes.environment import variables

MIDDLEWARE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"


@pytest.mark.parametrize("haproxy", [True, False])
@pytest.mark.parametrize("throughput", [True, False])
def test_variables_select_haproxy_and_throughput_mode(haproxy: bool, throughput: bool) -> None:
    http = HttpConfig(haproxy=haproxy, throughput_optimized=throughput)
    result = variables(ServeConfig(http=http))
    assert result["RAY_SERVE_ENABLE_HA_PROXY"] == str(int(haproxy))
    assert result["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == str(int(throughput))


def test_by_default_haproxy_is_used_where_ray_ships_it() -> None:
    result = variables(ServeConfig(http=HttpConfig()))["RAY_SERVE_ENABLE_HA_PROXY"]
    assert result == str(int(has_haproxy()))


@pytest.mark.parametrize("haproxy", [True, False])
def test_rays_own_answers_are_replaced_once(haproxy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIDDLEWARE, raising=False)
    origins = ("https://shop.example", "https://b.example")
    http = HttpConfig(haproxy=haproxy, root_path="/pintag", cors_origins=origins)
    config = ServeConfig(http=http)
    found = variables(config)
    assert (MIDDLEWARE in found) is not haproxy
    assert found["PINTAG_ROOT_PATH"] == "/pintag"
    assert found["PINTAG_CORS_ORIGINS"] == "https://shop.example https://b.example"


def test_a_middleware_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIDDLEWARE, "mine:middlewares")
    config = ServeConfig(http=HttpConfig(haproxy=False))
    assert variables(config)[MIDDLEWARE] == "mine:middlewares"


def test_without_haproxy_everything_ends_within_twice_the_longest_deadline() -> None:
    http, slow = HttpConfig(haproxy=False), ImageConfig(body_timeout_s=90)
    config = ServeConfig(http=http, classifier=ClassifierConfig(deadline_s=30, images=slow))
    found = variables(config)
    assert found["PINTAG_ANSWER_TIMEOUT_S"] == "60"
    # A replica reports a late body before that.
    assert found["PINTAG_BODY_TIMEOUT_S"] == "91"


@pytest.mark.parametrize("seconds", [0, 1, 30])
def test_draining_takes_the_configured_seconds(seconds: int) -> None:
    result = variables(ServeConfig(http=HttpConfig(drain_s=seconds)))
    assert float(result["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"]) == seconds
    # Ray does not accept zero for the proxy.
    assert 0 < float(result["RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S"]) <= max(seconds, 0.1)


def test_traces_go_to_files_unless_the_user_names_an_exporter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
    monkeypatch.delenv(exporter, raising=False)
    assert exporter not in variables(ServeConfig())
    traced = ServeConfig(log=LogConfig(traces=0.25))
    assert variables(traced)["RAY_SERVE_TRACING_SAMPLING_RATIO"] == "0.25"
    assert variables(traced)[exporter].endswith(":default_tracing_exporter")
    monkeypatch.setenv(exporter, "mine:exporter")
    assert variables(traced)[exporter] == "mine:exporter"


def test_ray_is_not_imported_before_its_variables_are_set() -> None:
    """Ray reads them when it is imported."""
    code = "import sys; from pintag.serve.lifecycle import server; print('ray' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout == "False\n"


def test_a_node_waits_for_its_replicas_before_it_stops() -> None:
    """Ray's own 30 s are as long as a load balancer needs, so nothing would be left to stop."""
    config = ServeConfig(http=HttpConfig(drain_s=30))
    seconds = float(variables(config)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert seconds == 30 + config.explainer.graceful_shutdown_timeout_s


def test_ray_reports_nothing_to_its_makers() -> None:
    assert variables(ServeConfig())["RAY_USAGE_STATS_ENABLED"] == "0"


def test_haproxy_waits_for_a_client_longer_than_a_replica_waits_for_its_body() -> None:
    config = ServeConfig()
    seconds = float(variables(config)["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"])
    assert config.classifier.images.body_timeout_s < seconds < 120


@pytest.mark.parametrize("deadline", [2, 20, 300])
def test_an_explanation_ends_within_twice_its_deadline(deadline: float) -> None:
    config = ServeConfig(explainer=ExplainerConfig(deadline_s=deadline))
    seconds = float(variables(config)["PINTAG_EXPLANATION_TIMEOUT_S"])
    assert deadline < seconds <= 2 * deadline


@pytest.mark.skipif(not has_haproxy(), reason="Ray ships no HAProxy here")
@pytest.mark.parametrize(("deadline", "interval"), [(10, "2000ms"), (1, "500ms"), (60, "3000ms")])
def test_health_checks_notice_a_replica_that_hangs_before_the_deadline(
    deadline: float, interval: str
) -> None:
    config = ServeConfig(
        http=HttpConfig(haproxy=True), classifier=ClassifierConfig(deadline_s=deadline)
    )
    assert variables(config)["RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER"] == interval


def test_the_port_of_haproxys_metrics_is_set_or_they_are_turned_off() -> None:
    names = {ports.HAPROXY_METRICS, "PINTAG_HAPROXY_METRICS"}

    def result(port: Any, *, haproxy: bool = True) -> dict[str, str]:
        metrics = MetricsConfig(haproxy_port=port)
        found = variables(ServeConfig(http=HttpConfig(haproxy=haproxy), metrics=metrics))
        return {name: value for name, value in found.items() if name in names}

    assert result("auto") == {}
    assert result(9201) == {ports.HAPROXY_METRICS: "9201"}
    assert result(False) == {"PINTAG_HAPROXY_METRICS": "0"}
    assert result(9201, haproxy=False) == {}
