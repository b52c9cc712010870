"""The server's configuration: the files in configs/serve, and values that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pintag.core import config
from pintag.core.errors import ConfigError
from pintag.serve.config import ClassifierArgs, ExplainerArgs, ServeConfig
from tests.conftest import CONFIGS

NUMBERS = [
    key
    for key, default in config.keys(ServeConfig)
    if isinstance(yaml.safe_load(default), int | float) and default not in ("true", "false")
]
LOCAL, CLUSTER = CONFIGS / "serve/local.yaml", CONFIGS / "serve/cluster.yaml"


def keys(values: dict[str, Any], prefix: str = "") -> set[str]:
    """Every dotted key of a nested mapping."""
    dotted_keys = set()
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        dotted_keys |= keys(value, f"{dotted}.") if isinstance(value, dict) else {dotted}
    return dotted_keys


def test_local_yaml_contains_every_default() -> None:
    assert yaml.safe_load(LOCAL.read_text()) == ServeConfig().model_dump(mode="json")
    assert config.load(ServeConfig, LOCAL) == config.load(ServeConfig, None) == ServeConfig()


@pytest.mark.parametrize("key", [*NUMBERS, "classifier.gpu_memory_mib", "classifier.resources.a"])
@pytest.mark.parametrize("value", ["1" + "0" * 30, "1.0e+300", ".inf", ".nan"])
def test_no_number_is_larger_than_what_reads_it_takes(key: str, value: str) -> None:
    """Ray and HAProxy would end with words of their own; Python would fail at a request."""
    with pytest.raises(ConfigError, match=f"'{key}'"):
        config.load(ServeConfig, None, [f"{key}={value}"])


@pytest.mark.parametrize(
    "origin", ["https://a.example:8443", "http://[::1]:80", "app://x_y-1", "*"]
)
def test_origins_as_browsers_send_them_are_accepted(origin: str) -> None:
    loaded = config.load(ServeConfig, None, [f"http.cors_origins=['{origin}']"])
    assert loaded.http.cors_origins == (origin,)


def test_cluster_yaml_sets_every_key_and_survives_the_loss_of_a_replica() -> None:
    assert keys(yaml.safe_load(CLUSTER.read_text())) == keys(ServeConfig().model_dump())
    loaded = config.load(ServeConfig, CLUSTER)
    assert loaded.http.host == "0.0.0.0"
    assert loaded.classifier.autoscaling.min_replicas >= 2


@pytest.mark.parametrize("path", [LOCAL, CLUSTER], ids=lambda path: path.stem)
def test_a_stopping_replica_has_time_to_answer_all_admitted_requests(path: Path) -> None:
    loaded = config.load(ServeConfig, path)
    for deployment in (loaded.classifier, loaded.explainer):
        assert deployment.graceful_shutdown_timeout_s > deployment.deadline_s
        assert deployment.images.max_request_bytes > deployment.images.max_bytes


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("colour=red", "unknown key 'colour'; valid keys: engine, precision, http, metrics"),
        ("engine=torch", "'engine'"),
        ("precision=fp8", "'precision'"),
        ("http.prot=1", "unknown key 'http.prot'; did you mean 'http.port'?"),
        ("metrics.host=x", "unknown key 'metrics.host'; valid keys: port"),
        ("access.rate_limits.when_unavailable=half", "'access.rate_limits.when_unavailable'"),
        (
            "classifier.max_batchsize=8",
            "unknown key 'classifier.max_batchsize'; did you mean 'classifier.max_batch_size'?",
        ),
        (
            "classifier.images.max_byte=8",
            "unknown key 'classifier.images.max_byte'; did you mean 'classifier.images.max_bytes'?",
        ),
        ("http.port=0", "'http.port': must be at least 1 (found 0)"),
        ("http.haproxy=perhaps", "(found 'perhaps')"),
        ("http.drain_s=-1", "'http.drain_s'"),
        ("classifier.deadline_s=0", "'classifier.deadline_s'"),
        ("classifier.num_batch_threads=0", "'classifier.num_batch_threads'"),
        ("classifier.images=none", "'classifier.images'"),
        ("classifier.cores=[]", "'classifier.cores'"),
        ("classifier.cores=[0,-1]", "'classifier.cores.1'"),
        ("classifier.niceness=-1", "'classifier.niceness'"),
        (
            "explainer.max_sample=8",
            "unknown key 'explainer.max_sample'; did you mean 'explainer.max_samples'?",
        ),
        ("explainer.max_batch_size=8", "unknown key 'explainer.max_batch_size'"),
        ("explainer.enabled=perhaps", "'explainer.enabled'"),
        ("explainer.max_ongoing_requests=0", "'explainer.max_ongoing_requests'"),
        # A single sample cannot explain anything; pintag.explain.explanation accepts up to 100,000.
        ("explainer.max_samples=1", "'explainer.max_samples'"),
        ("explainer.max_samples=100001", "'explainer.max_samples'"),
        ("explainer.images.max_images=2", "'explainer.images.max_images'"),
        ("explainer.niceness=20", "'explainer.niceness'"),
        ("explainer.cache_bytes=-1", "'explainer.cache_bytes'"),
        (
            "candidate.shadows=0.1",
            "unknown key 'candidate.shadows'; did you mean 'candidate.shadow'?",
        ),
        ("candidate.num_batch_threads=2", "unknown key 'candidate.num_batch_threads'"),
        ("candidate.shadow=-0.1", "'candidate.shadow'"),
        ("candidate.canary=1.5", "'candidate.canary'"),
        ("candidate.canary=5%", "'candidate.canary'"),
        ("candidate.deadline_s=0", "'candidate.deadline_s'"),
        # The kernel's timer takes microseconds, and 0 would be no limit.
        ("classifier.images.decode_timeout_s=1e-9", "must be at least 0.001"),
        ("http.cors_origins=['https://*.example']", "without wildcards"),
        ("http.cors_origins=['https://Shop.example']", "in lower case"),
        ("http.cors_origins=['https://caf\u00e9.example']", "'http.cors_origins.0'"),
        ("http.cors_origins=['https://me@shop.example']", "'http.cors_origins.0'"),
    ],
)
def test_a_wrong_key_or_value_is_named(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(ServeConfig, None, [override])
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["classifier.max_ongoing_requests=15"], "max_ongoing_requests is below max_batch_size"),
        (["classifier.max_batch_size=129"], "max_ongoing_requests is below max_batch_size"),
        (["classifier.autoscaling.min_replicas=3"], "min_replicas is above max_replicas"),
        (["http.port=9000", "metrics.port=9000"], "http.port and metrics.port are both 9000"),
        (["metrics.haproxy_port=8080"], "metrics.port and metrics.haproxy_port are both 8080"),
        (["metrics.haproxy_port=true"], "expected a port, 1 to 65535, or auto, or false for none"),
        (["metrics.haproxy_port=70000"], "expected a port, 1 to 65535, or auto, or false for none"),
        (["metrics.haproxy_port=none"], "expected a port, 1 to 65535, or auto, or false for none"),
        (
            ["candidate.bundle=new", "candidate.shadow=0.6", "candidate.canary=0.5"],
            "'candidate': shadow and canary add up to more than 1, all images",
        ),
        (
            ["candidate.shadow=0.1"],
            "shadow and canary need a candidate: set candidate.bundle=PATH",
        ),
        (
            ["candidate.canary=0.1"],
            "shadow and canary need a candidate: set candidate.bundle=PATH",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    overrides: list[str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config.load(ServeConfig, None, overrides)


def test_max_ongoing_requests_may_equal_max_batch_size() -> None:
    overrides = ["classifier.max_ongoing_requests=1", "classifier.max_batch_size=1"]
    assert config.load(ServeConfig, None, overrides).classifier.max_batch_size == 1


def test_a_changed_key_of_the_explainer_leaves_the_others_at_their_defaults() -> None:
    overrides = ["explainer.autoscaling.max_replicas=4", "explainer.images.max_bytes=100"]
    changed = config.load(ServeConfig, None, overrides).explainer
    default = ServeConfig().explainer
    assert changed.autoscaling.max_replicas == 4
    assert changed.images.max_bytes == 100
    assert changed.autoscaling == default.autoscaling.model_copy(update={"max_replicas": 4})
    assert changed.images == default.images.model_copy(update={"max_bytes": 100})


def test_an_explainer_that_is_not_enabled_is_not_deployed() -> None:
    both = ServeConfig()
    assert both.deployments == (both.classifier, both.explainer)
    alone = config.load(ServeConfig, None, ["explainer.enabled=false"])
    assert alone.deployments == (alone.classifier,)


def test_a_candidate_has_the_classifiers_settings_except_for_its_own_keys() -> None:
    overrides = [
        "candidate.bundle=new",
        "classifier.num_batch_threads=3",
        "classifier.num_gpus=0.5",
    ]
    loaded = config.load(ServeConfig, None, overrides)
    *others, candidate = loaded.deployments
    assert others == [loaded.classifier, loaded.explainer]
    assert candidate == loaded.candidate_deployment
    assert (candidate.num_gpus, loaded.candidate_deployment.num_batch_threads) == (0.5, 3)
    assert candidate.autoscaling.model_dump() == loaded.candidate.autoscaling.model_dump()
    assert candidate.niceness == loaded.candidate.niceness > loaded.classifier.niceness


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(ServeConfig, None, ["http.port=0", "metrics.port=0", "x=1"])
    assert len(str(refused.value).splitlines()) == 3


def test_an_application_is_built_from_a_bundle_and_the_same_keys() -> None:
    values = {"bundle": "/models/pins", "classifier": {"max_batch_size": 8}}
    expected = config.load(ServeConfig, None, ["classifier.max_batch_size=8"]).classifier
    assert config.parse(ClassifierArgs, values).classifier == expected
    with pytest.raises(ConfigError, match="'bundle'"):
        config.parse(ClassifierArgs, {})
    values = {"bundle": "/models/pins", "explainer": {"max_samples": 8}}
    assert config.parse(ExplainerArgs, values).explainer.max_samples == 8
    with pytest.raises(ConfigError, match="'classifier'"):
        config.parse(ExplainerArgs, {**values, "classifier": {}})


@pytest.mark.parametrize("origin", ["https://shop.example", "http://localhost:5173", "*"])
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    loaded = config.load(ServeConfig, None, [f'http.cors_origins=["{origin}"]'])
    assert loaded.http.cors_origins == (origin,)


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://a/b", ""])
def test_another_spelling_of_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="cors_origins"):
        config.load(ServeConfig, None, [f'http.cors_origins=["{origin}"]'])


@pytest.mark.parametrize("host", ["::1x", "127.0.0.1:8000", "http://localhost"])
def test_an_address_with_colons_is_an_ipv6_address(host: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.host.*not an IPv6 address; http\.port"):
        config.load(ServeConfig, None, [f"http.host='{host}'"])
    for good in ("::", "::1", "fe80::1%eth0", "localhost", "0.0.0.0"):
        assert config.load(ServeConfig, None, [f"http.host='{good}'"]).http.host == good


@pytest.mark.parametrize(
    "path", ["pintag", "/pintag/", "/", "/a b", "/a?b", "//a", "/..", "/-", "/" + "a" * 256]
)
def test_a_root_path_begins_with_a_slash_and_ends_without(path: str) -> None:
    with pytest.raises(ConfigError, match="root_path"):
        config.load(ServeConfig, None, [f"http.root_path={path}"])
    assert config.load(ServeConfig, None, ["http.root_path=/a/b-c.d"]).http.root_path == "/a/b-c.d"


@pytest.mark.parametrize("path", ["/v1", "/v1/tags", "/docs", "/page", "/openapi.json"])
def test_a_root_path_is_not_a_path_of_the_server(path: str) -> None:
    with pytest.raises(ConfigError, match=r"own paths.*such as /pintag"):
        config.load(ServeConfig, None, [f"http.root_path={path}"])
    assert config.load(ServeConfig, None, ["http.root_path=/v10"]).http.root_path == "/v10"
