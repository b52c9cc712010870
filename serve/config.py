"""The server's configuration. A key that Ray Serve has too has the same name as in Ray Serve."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from pintag.core.config import Strict
from pintag.core.wrong_values import matching
from pintag.serve.deployment_config import (
    CandidateConfig,
    ClassifierConfig,
    Count,
    DeploymentConfig,
    EngineConfig,
    ExplainerConfig,
)

# `*`, or a scheme, a host and perhaps a port, exactly as browsers send it: anything else would
# never be equal to what they send, and nobody would notice.
Origin = Annotated[
    str,
    matching(
        r"\*|[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?",
        "must be a scheme and a host without a path, in lower case and without wildcards, such as "
        "https://shop.example, or *",
    ),
]
# HAProxy reads lines of at most 2,048 characters.
_MAX_PATH = 256
Prefix = Annotated[
    str,
    matching(
        "(/[A-Za-z0-9_~][A-Za-z0-9._~-]*)*",
        "must be a path that begins with a slash and does not end with one, such as /pintag",
    ),
]


class ApiConfig(Strict):
    """How the API presents itself to browsers and proxies."""

    cors_origins: tuple[Origin, ...] = ()
    """The origins whose pages may use the API from a browser, such as `https://shop.example`; `*`:
    all; by default only the server's own page."""
    root_path: Prefix = ""
    """The path below which a proxy offers the server, such as `/pintag`. Requests are answered with
    and without it, so the proxy may remove it or not."""

    @field_validator("root_path")
    @classmethod
    def _is_not_a_path_of_the_server(cls, path: str) -> str:
        if f"{path}/".startswith(("/v1/", "/docs/", "/page/", "/openapi.json/")):
            raise ValueError("the server's own paths begin like this; use another, such as /pintag")
        if len(path) > _MAX_PATH:
            raise ValueError(f"must have at most {_MAX_PATH} characters")
        return path


class HttpConfig(ApiConfig):
    """How requests reach the replicas."""

    renamed_keys: ClassVar[Mapping[str, str]] = {"drain_seconds": "drain_s"}

    host: str = "127.0.0.1"
    """The address to listen on. One that other machines can reach needs API keys."""
    port: int = Field(default=8000, ge=1, le=65535)
    """The port of the API and the page."""
    haproxy: bool | Literal["auto"] = "auto"
    """Whether HAProxy receives the requests and passes them to replicas; `auto`: where Ray ships it
    (Linux)."""
    throughput_optimized: bool = True
    """Whether pintag's code runs on the replica's own event loop, with buffered request logs."""
    drain_s: int = Field(default=1, ge=0, le=604_800)
    """Seconds for which a stopping proxy or replica still answers, so that load balancers notice
    that it stops."""
    retry_bytes: int = Field(default=256 * 1024, ge=16 * 1024, le=64 * 2**20)
    """A request of at most this many bytes is sent to another replica if its replica dies. HAProxy
    takes twice this memory for each request in flight."""
    max_connections_per_client: Count = Field(default=2048, ge=0)
    """Connections that HAProxy accepts from one address at a time, of 4,096 in all; 0: no limit.
    Behind a proxy, the proxy's address counts for all of its clients."""
    max_waiting_bodies_per_client: Count = Field(default=1024, ge=0)
    """Requests of one address whose bodies are still on their way; more get status 429. One address
    may also have at most a quarter of the places for requests larger than `retry_bytes`. 0: neither
    limit."""

    @field_validator("host")
    @classmethod
    def _is_an_address_if_it_has_colons(cls, host: str) -> str:
        if ":" in host:
            try:
                ipaddress.ip_address(host)
            except ValueError as error:
                raise ValueError("not an IPv6 address; http.port is a key of its own") from error
        return host


class RateLimitConfig(Strict):
    """Where the limits of keys are counted."""

    redis: str | None = None
    """The URL of a Redis, such as `redis://redis:6379/0`; by default an actor of Ray counts, and a
    restart of it resets the counts. The password may be in the URL, or in the environment variable
    `PINTAG_REDIS_PASSWORD` of every node."""
    when_unavailable: Literal["closed", "open"] = "closed"
    """What happens to requests with a limited key while Redis or the actor does not answer: they
    get status 503 (`closed`), or are admitted without a limit (`open`)."""


class AccessConfig(Strict):
    """Who may send requests."""

    renamed_keys: ClassVar[Mapping[str, str]] = {"everybody": "allow_anonymous"}

    keys: Path | None = None
    """A file of API keys, as `pintag key` writes it; without one the server answers everybody who
    can reach it."""
    allow_anonymous: bool = False
    """Whether a server without keys may listen on addresses that other machines can reach."""
    rate_limits: RateLimitConfig = RateLimitConfig()


class LogConfig(Strict):
    """The replicas' logs, which Ray keeps in its session's folder, logs/serve, on every node."""

    format: Literal["text", "json"] = "text"
    """`json`: one JSON object per line, for programs, also in what the command prints. A mistake in
    the configuration is text in any case: the format is not known before it is read."""
    access: bool = False
    """Whether each request has a line with its id, status and milliseconds; it slows requests."""
    traces: float = Field(default=0.0, ge=0, le=1)
    """The share of requests that OpenTelemetry traces; the header `traceparent` of a request takes
    precedence. `RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH` names the exporter; by default spans go to
    files beside the logs."""


def _port_or_off(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validate a union with one error message; pydantic would report one for each member."""
    words = "expected a port, 1 to 65535, or auto, or false for none"
    # pydantic would read it as port 1.
    if value is True:
        raise ValueError(words)
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError(words) from error


HaproxyPort = Annotated[
    Literal[False, "auto"] | Annotated[int, Field(ge=1, le=65535)], WrapValidator(_port_or_off)
]


class MetricsConfig(Strict):
    """Where Prometheus reads this node's metrics."""

    port: int = Field(default=8080, ge=1, le=65535)
    """The port of the metrics, on every node."""
    haproxy_port: HaproxyPort = "auto"
    """The port of HAProxy's own metrics, which count the requests that it refuses, on every node.
    `auto`: the first free port from 9101 on; on a cluster 9101. `false`: HAProxy has no metrics."""


class ServeConfig(EngineConfig):
    """Everything `pintag serve` reads."""

    http: HttpConfig = HttpConfig()
    metrics: MetricsConfig = MetricsConfig()
    access: AccessConfig = AccessConfig()
    log: LogConfig = LogConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    explainer: ExplainerConfig = ExplainerConfig()
    candidate: CandidateConfig = CandidateConfig()

    @model_validator(mode="after")
    def _ports_differ(self) -> ServeConfig:
        keys: dict[int, str] = {}
        for key, port in self.chosen_ports.items():
            if port in keys:
                raise ValueError(f"{keys[port]} and {key} are both {port}; change one")
            keys[port] = key
        return self

    @property
    def chosen_ports(self) -> dict[str, int]:
        """The ports that this configuration chooses, by key."""
        ports = {"http.port": self.http.port, "metrics.port": self.metrics.port}
        own = self.metrics.haproxy_port
        # `false` is an integer, too.
        if isinstance(own, int) and own and self.http.haproxy is not False:
            ports["metrics.haproxy_port"] = own
        return ports

    @property
    def deployments(self) -> tuple[DeploymentConfig, ...]:
        """The deployments that are started."""
        explainer = [self.explainer] if self.explainer.enabled else []
        candidate = [self.candidate_deployment] if self.candidate.bundle else []
        return (self.classifier, *explainer, *candidate)

    @property
    def draining_s(self) -> float:
        """Seconds within which all replicas have drained and stopped; Ray kills those that have
        not."""
        stopping = max(each.graceful_shutdown_timeout_s for each in self.deployments)
        return self.http.drain_s + stopping

    @property
    def candidate_deployment(self) -> ClassifierConfig:
        """The candidate's deployment: the classifier's, with other autoscaling and niceness."""
        overrides = self.candidate.model_dump(include={"autoscaling", "niceness"})
        return ClassifierConfig.model_validate({**self.classifier.model_dump(), **overrides})


class ApplicationArgs(EngineConfig):
    """The arguments of every application: a bundle, and how to serve it."""

    # Ray builds applications in a separate process, and writes this logger to its log file.
    logger: ClassVar[logging.Logger] = logging.getLogger("ray.serve")

    bundle: str
    """The bundle's folder or URI. Every node reads the bundle from there."""
    log: LogConfig = LogConfig()


class ClassifierArgs(ApplicationArgs):
    """The arguments of the classifier application."""

    access: AccessConfig = AccessConfig()
    http: ApiConfig = ApiConfig()
    explained: bool = True
    """Whether the explainer application runs too: the page and the OpenAPI document describe it."""
    classifier: ClassifierConfig = ClassifierConfig()
    candidate: CandidateConfig = CandidateConfig()


class CandidateArgs(ApplicationArgs):
    """The arguments of the candidate application."""

    classifier: ClassifierConfig = ClassifierConfig()


class ExplainerArgs(ApplicationArgs):
    """The arguments of the explainer application."""

    access: AccessConfig = AccessConfig()
    http: ApiConfig = ApiConfig()
    explainer: ExplainerConfig = ExplainerConfig()
