"""Every alert fires when it should, and only then; promtool of Prometheus evaluates the rules."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

RULES = ROOT / "k8s/chart/files/rules.yaml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
# The label of every series, whose value the chart replaces.
SERVER = "NAMESPACE/SERVER"
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
HOUR, DAY = 60, 60 * 24

pytestmark = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian's package prometheus)"
)

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Series that make an alert fire, and series that nearly do, with a value for each step."""

    firing: Series
    quiet: Series
    at: int
    """The minute at which the rule is evaluated."""
    step: int = 1
    """Minutes between two values."""


def answers(failed: int) -> Series:
    name = 'haproxy_frontend_http_responses_total{proxy="http_frontend",code="%s"}'
    return {name % "2xx": "0+1000x500", name % "5xx": f"0+{failed}x500"}


def tags(quick: int) -> Series:
    name = "ray_pintag_total_seconds"
    return {
        f'{name}_bucket{{le="0.5"}}': f"0+{quick}x500",
        f"{name}_count": "0+100x500",
    }


def replicas(count: int, application: str = "classifier", version: str = "a") -> Series:
    labels = f'application="{application}",version="{version}"'
    return {
        f'ray_pintag_model_info{{{labels},replica="{version}{number}"}}': "1x100"
        for number in range(count)
    }


def scaled(requests: int) -> Series:
    return {
        'ray_serve_autoscaling_total_requests{application="classifier"}': f"{requests}x100",
        'ray_serve_autoscaling_target_ongoing_requests{application="classifier"}': "0.7x100",
        'ray_serve_autoscaling_target_replicas{application="classifier"}': "64x100",
    }


def waits(quick: int) -> Series:
    name = 'ray_pintag_wait_seconds_bucket{application="%s",le="%s"}'
    return {
        name % ("classifier", "0.2"): f"0+{quick}x100",
        name % ("classifier", "0.5"): "0+100x100",
        name % ("classifier", "+Inf"): "0+100x100",
        # A candidate may be slow: no client waits for it.
        name % ("candidate", "0.5"): "0+0x100",
        name % ("candidate", "+Inf"): "0+1000x100",
    }


def confidences(unsure: str) -> Series:
    name = "ray_pintag_confidence"
    return {f'{name}_bucket{{le="0.5"}}': unsure, f"{name}_count": "0+20x500"}


def candidate_up(*ups: int) -> Series:
    """Whether the candidate is healthy, as each replica of the classifier reports it."""
    name = 'ray_pintag_candidate_up{replica="%d"}'
    return {name % number: f"{up}x100" for number, up in enumerate(ups)}


CASES = {
    "PintagFailingFast": Case(answers(20), answers(10), 2 * HOUR),
    "PintagFailing": Case(answers(8), answers(5), 7 * HOUR),
    "PintagSlowFast": Case(tags(80), tags(90), 2 * HOUR),
    "PintagSlow": Case(tags(92), tags(96), 7 * HOUR),
    "PintagDown": Case(replicas(1, "explainer"), replicas(1), 5),
    "PintagReplicasMissing": Case(
        {**scaled(40), **replicas(63)}, {**scaled(40), **replicas(64)}, 15
    ),
    "PintagAutoscalerAtMaximum": Case(scaled(60), scaled(45), 15),
    "PintagSaturated": Case(waits(10), waits(90), 15),
    "PintagExplainerQueue": Case(
        {'ray_pintag_ongoing{application="explainer"}': "9x100", **replicas(2, "explainer")},
        {'ray_pintag_ongoing{application="explainer"}': "8x100", **replicas(2, "explainer")},
        15,
    ),
    "PintagTwoVersions": Case({**replicas(2), **replicas(1, version="b")}, replicas(3), 40),
    "PintagCandidateDown": Case(candidate_up(1, 0), candidate_up(1, 1), 15),
    # Prometheus's tests begin in 1970.
    "PintagStaleBundle": Case(
        {'ray_pintag_model_created_seconds{application="classifier"}': f"{-91 * 86400}x100"},
        {'ray_pintag_model_created_seconds{application="classifier"}': f"{-89 * 86400}x100"},
        70,
    ),
    "PintagHeadDown": Case(
        {'up{group="headgroup"}': "0x100"}, {'up{group="headgroup"}': "1x100"}, 10
    ),
    "PintagUnsure": Case(
        confidences("0+1x352 357+5x80"), confidences("0+5x500"), 7 * DAY + 20 * HOUR, step=30
    ),
}


def test_every_alert_has_its_case_and_its_runbook() -> None:
    assert CASES.keys() == ALERTS.keys()
    runbooks = (ROOT / "docs/operations.md").read_text()
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert f"\n### {name}\n" in runbooks
        assert rule["labels"]["severity"] in ("page", "ticket")


def of(server: str, series: str) -> str:
    """A series with the label of its server."""
    name, _, labels = series.partition("{")
    return f'{name}{{server="{server}",{labels or "}"}'


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_not_when_it_nearly_should(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": GROUPS}))
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    tests = [
        {
            "interval": f"{case.step}m",
            "input_series": [
                {"series": of(server, key), "values": value}
                for server, series in servers.items()
                for key, value in series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": f"{case.at}m",
                    "exp_samples": [{"labels": "{}", "value": expected}],
                }
            ],
        }
        # Another installation in the same Prometheus does not answer for this one.
        for servers, expected in (
            ({SERVER: case.firing, "other/server": case.quiet}, 1),
            ({SERVER: case.quiet, "other/server": case.firing}, 0),
        )
    ]
    path = tmp_path / "tests.yaml"
    path.write_text(
        yaml.safe_dump(
            {"rule_files": ["rules.yaml"], "evaluation_interval": f"{case.step}m", "tests": tests}
        )
    )
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_in_a_rule_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    broken = re.sub(r"absent\(", "absnt(", yaml.safe_dump({"groups": GROUPS}))
    for content, code in ((yaml.safe_dump({"groups": GROUPS}), 0), (broken, 1)):
        path.write_text(content)
        done = subprocess.run(
            ["promtool", "check", "rules", path], capture_output=True, check=False
        )
        assert done.returncode == code
