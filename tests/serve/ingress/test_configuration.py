"""The rules that are added to the configuration of the installed Ray; no marker may be missing."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pintag.serve.api.schemas import Problem
from pintag.serve.ingress.sections import MissingMarkerError
from pintag.serve.ingress.settings import IngressSettings
from tests.serve.ingress.conftest import Render, patched

APPLICATIONS = {"classifier": "/", "explainer": "/v1/explanations"}
SETTINGS = IngressSettings(
    host="127.0.0.1",
    max_ongoing_requests=33,
    body_timeout_s=2.5,
    answer_timeout_s=6.5,
    explanation_timeout_s=9,
)


def stripped(text: str) -> list[str]:
    """The lines of a configuration without indentation, and without empty ones."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def added(before: str, after: str) -> list[str]:
    """The lines that are in `after` only, stripped."""
    old = stripped(before)
    return [line for line in stripped(after) if line not in old]


def section(text: str, name: str) -> list[str]:
    """The lines of one section of a configuration, stripped."""
    lines = text.split("\n")
    first = lines.index(name) + 1
    rest = lines[first:]
    end = next((n for n, line in enumerate(rest) if re.match(r"\S", line)), len(rest))
    return [line.strip() for line in rest[:end]]


def test_rays_own_lines_are_kept_in_order(render: Render) -> None:
    before = render(APPLICATIONS).read_text()
    left = iter(stripped(patched(before, IngressSettings())))
    changed = re.compile(r"server SERVE_REPLICA_.*")
    # Ray's error pages.
    replaced = re.compile(r"(errorfile|http-request return status 404) .*")
    for line in stripped(before):
        if replaced.match(line):
            continue
        expected = f"{line} tcp-ut 5s" if changed.match(line) else line
        assert expected in left, f"{line} is missing, or has moved"


def test_overload_is_refused_before_a_backend_is_chosen(render: Render) -> None:
    text = patched(render(APPLICATIONS).read_text(), SETTINGS)
    assert "nbsrv(http-classifier),mul(33)" in text
    lines = section(text, "frontend http_frontend")
    order = ["acl is_http-classifier path /", "acl pintag_tags path_beg /v1/tags"]
    order += [
        "http-request return status 503 content-type application",
        "use_backend http-classifier",
    ]
    positions = [next(n for n, line in enumerate(lines) if line.startswith(rule)) for rule in order]
    assert positions == sorted(positions)


def test_haproxys_own_answers_are_problems_like_those_of_the_api(render: Render) -> None:
    text = patched(render(APPLICATIONS).read_text(), SETTINGS)
    problems = [
        Problem.model_validate_json(content.replace('\\"', '"'))
        for content in re.findall(r'string "(\{.*\})"', text)
    ]
    kinds = {(problem.status, problem.kind) for problem in problems}
    assert kinds == {
        (400, "bad_request"),
        (405, "method_not_allowed"),
        (408, "late_body"),
        (500, "internal"),
        (502, "bad_gateway"),
        (503, "overloaded"),
        (503, "starting"),
        (503, "unavailable"),
        (504, "deadline"),
        (505, "http_version"),
    }
    assert {problem.detail for problem in problems if problem.status == 408} == {
        "the body did not arrive within 2.5 s"
    }


def test_without_a_limit_nothing_is_refused(render: Render) -> None:
    text = patched(render(APPLICATIONS).read_text(), IngressSettings())
    assert "be_conn" not in text
    assert "timeout server" not in "".join(section(text, "backend http-classifier"))


def test_a_classifier_at_another_path_is_protected_too(render: Render) -> None:
    text = patched(render({"classifier": "/pins"}).read_text(), SETTINGS)
    assert "acl pintag_tags path_beg /pins/v1/tags" in section(text, "frontend http_frontend")


def test_a_replica_that_hangs_and_a_node_that_is_gone_are_given_up(render: Render) -> None:
    text = patched(render(APPLICATIONS).read_text(), SETTINGS)
    assert section(text, "backend http-classifier")[0] == "timeout server 6500ms"
    explainer = section(text, "backend http-explainer")
    assert explainer[0] == "timeout server 9000ms"
    assert "response-timeout" not in explainer[1], "an explanation is not started again"
    servers = re.findall(r"^ *server SERVE_REPLICA.*", text, re.M)
    assert len(servers) == 4
    assert all(line.endswith(" tcp-ut 5s") for line in servers)
    defaults = section(text, "defaults")
    for line in ("option srvtcpka", "srvtcpka-idle 1s", "srvtcpka-intvl 1s"):
        assert line in defaults


def test_a_replica_is_chosen_when_the_body_has_arrived(render: Render) -> None:
    text = patched(render(APPLICATIONS).read_text(), IngressSettings(body_timeout_s=2.5))
    rule = "http-request wait-for-body time 2500ms if pintag_body || pintag_chunked"
    assert rule in section(text, "frontend http_frontend")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("192.0.2.1", "192.0.2.1")],
)
def test_replicas_of_this_node_are_reached_where_they_listen(
    render: Render, host: str, expected: str
) -> None:
    text = patched(render(APPLICATIONS).read_text(), IngressSettings(host=host))
    servers = re.findall(r"^ *server \S+ (\S+):\d+ ", text, re.M)
    assert servers == 6 * [expected]


@pytest.mark.parametrize("host", ["", "127.0.0.1", "0.0.0.0"])
def test_haproxys_own_pages_listen_on_the_servers_address(render: Render, host: str) -> None:
    text = patched(render(APPLICATIONS, host="127.0.0.1").read_text(), IngressSettings(host=host))
    binds = dict(re.findall(r"^\S+ (\S+)\n *bind (\S*):\d+$", text, re.M))
    assert binds == {
        "http_frontend": "127.0.0.1", "prometheus": host, "stats": host or "*"
    }  # fmt: skip


def test_haproxys_own_metrics_can_be_turned_off(render: Render) -> None:
    before = render(APPLICATIONS).read_text()
    with_metrics = patched(before, SETTINGS)
    without = patched(before, dataclasses.replace(SETTINGS, has_metrics=False))
    assert "frontend prometheus" in with_metrics
    lines = section(with_metrics, "frontend prometheus")
    assert lines[0].startswith("bind ")
    assert "prometheus" not in without
    # Nothing else is removed.
    removed = (
        "frontend prometheus\n"
        + with_metrics.partition("frontend prometheus\n")[2].partition("frontend http_frontend")[0]
    )
    assert without == with_metrics.replace(removed, "")


def test_requests_without_errors_are_logged_only_if_there_is_a_log_target(render: Render) -> None:
    before = render(APPLICATIONS).read_text()
    assert "option dontlog-normal" in added(before, patched(before, IngressSettings()))
    logging = patched(before, IngressSettings(log_target="127.0.0.1:514"))
    assert "option dontlog-normal" not in added(before, logging)


def test_a_configuration_without_applications_needs_no_markers_of_applications(
    render: Render,
) -> None:
    """Ray starts HAProxy with a configuration that has no applications."""
    text = patched(render({}).read_text(), SETTINGS)
    assert "http-classifier" not in text
    for name in ("option dontlog-normal", "srvtcpka-idle 1s", "timeout http-request 10s"):
        assert name in section(text, "defaults")
    (answer,) = [line for line in section(text, "backend default_backend") if "starting" in line]
    # It is true when the server starts or ends, and in a HAProxy that is being replaced.
    assert "the server is starting or stopping; try again in a second" in answer
    assert "hdr Retry-After 1 " in answer


@pytest.mark.parametrize(
    ("line", "other", "named"),
    [
        ("    option httplog\n", "", "option httplog"),
        ("    stats timeout 30s\n", "", "stats timeout 30s"),
        ("    bind 127.0.0.1", "    bound 127.0.0.1", "frontend http_frontend"),
        ("    errorfile 504", "    errorfile", "errorfile"),
        ("return status 404", "return status 410", "http-request return status 404"),
        ("frontend prometheus\n", "frontend exporter\n", "frontend prometheus"),
        ("  bind *:", "  bind [::]:", "listen stats"),
        (
            "acl is_http-classifier path /\n",
            "acl is_http-classifier path_dir /\n",
            "acl is_http-classifier path PREFIX",
        ),
        (" if healthcheck", " if healthy", "no line `http-request return status …`"),
        ("http-classifier", "app-classifier", "use_backend app-classifier"),
        ("SERVE_REPLICA_", "REPLICA_", "server REPLICA_explainer-a"),
    ],
)
def test_a_missing_marker_is_named(render: Render, line: str, other: str, named: str) -> None:
    """Another release of Ray may write other lines, and HAProxy must not run without the rules."""
    before = render(APPLICATIONS).read_text()
    assert line in before
    with pytest.raises(MissingMarkerError, match=re.escape(named)):
        patched(before.replace(line, other), SETTINGS)


def test_settings_come_from_variables() -> None:
    variables = {
        "PINTAG_HOST": "10.0.0.1",
        "PINTAG_MAX_ONGOING_REQUESTS": "128",
        "PINTAG_BODY_TIMEOUT_S": "2.5",
        "PINTAG_ANSWER_TIMEOUT_S": "6.5",
        "PINTAG_DEADLINE_S": "5",
        "PINTAG_EXPLANATION_TIMEOUT_S": "9",
        "PINTAG_MAX_IMAGE_BYTES": "30",
        "PINTAG_MAX_REQUEST_BYTES": "40",
        "PINTAG_MAX_CONNECTIONS": "20",
        "PINTAG_MAX_WAITING_BODIES": "10",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "4096",
        "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:514",
        "PINTAG_ROOT_PATH": "/pintag",
        "PINTAG_CORS_ORIGINS": "https://a.example https://b.example",
        "PINTAG_HAPROXY_METRICS": "0",
    }
    expected = IngressSettings(
        "10.0.0.1", 128, 2.5, 6.5, 5, 9, 30, 40, 20, 10, 4096, "127.0.0.1:514", "/pintag",
        ("https://a.example", "https://b.example"), False, "cluster",
    )  # fmt: skip
    assert IngressSettings.of(variables, "cluster") == expected
    assert IngressSettings.of({}) == IngressSettings()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("PINTAG_MOST", "PINTAG_MAX_ONGOING_REQUESTS"),
        ("PINTAG_BODY_SECONDS", "PINTAG_BODY_TIMEOUT_S"),
        ("PINTAG_ANSWER_SECONDS", "PINTAG_ANSWER_TIMEOUT_S"),
    ],
)
def test_variables_of_0_1_are_read_and_the_new_ones_named(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert IngressSettings.of({old: "7"}) == IngressSettings.of({new: "7"})
    assert capsys.readouterr().err == f"The variable {old} is deprecated: use {new}\n"
    assert IngressSettings.of({old: "7", new: "8"}) == IngressSettings.of({new: "8"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PINTAG_MOST", "x"),
        ("PINTAG_MAX_ONGOING_REQUESTS", "1.5"),
        ("PINTAG_BODY_SECONDS", "nan"),
        ("PINTAG_BODY_TIMEOUT_S", "-1"),
        ("PINTAG_ANSWER_TIMEOUT_S", "inf"),
        ("RAY_SERVE_HAPROXY_TUNE_BUFSIZE", "16k"),
    ],
)
def test_a_variable_with_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the variable {name} is '{value}': give a"):
        IngressSettings.of({name: value})


def test_the_root_path_is_removed_before_an_application_is_chosen(render: Render) -> None:
    text = patched(render(APPLICATIONS).read_text(), IngressSettings(root_path="/pintag"))
    lines = section(text, "frontend http_frontend")
    rule = "http-request set-path %[path,bytes(7)] if { path_beg /pintag/ }"
    assert lines.index(rule) < lines.index("use_backend http-classifier if is_http-classifier")
    assert "set-path" not in patched(render(APPLICATIONS).read_text(), IngressSettings())
