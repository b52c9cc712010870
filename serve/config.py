"""The server's configuration; keys that Ray Serve has too are spelt as Ray spells them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pintag.bundle import EngineKind, PrecisionKind
from pintag.config import Strict

Core = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class HttpConfig(Strict):
    """How requests reach the replicas."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    haproxy: bool | Literal["auto"] = "auto"
    """HAProxy in front, straight to the replicas; `auto`: where Ray ships it (Linux)."""
    throughput_optimized: bool = True
    """User code on the replica's own event loop, buffered request logs."""
    drain_seconds: int = Field(default=1, ge=0)
    """How long a stopping proxy or replica goes on answering, for load balancers to notice."""
    retry_bytes: int = Field(default=256 * 1024, ge=16 * 1024)
    """A request up to this size is sent to another replica where its own died over it. HAProxy
    keeps so much for each request under way, twice."""


class AccessConfig(Strict):
    """Who may ask."""

    keys: Path | None = None
    """A file of API keys, as `pintag key` writes it; without one everybody who reaches the server
    may ask."""
    everybody: bool = False
    """Whether a server without keys may listen beyond this machine."""


class LogConfig(Strict):
    """What replicas write down: Ray keeps it in its session's folder, logs/serve, on every node."""

    format: Literal["text", "json"] = "text"
    """`json`: an object in each line, for programs."""
    traces: float = Field(default=0.0, ge=0, le=1)
    """The share of requests that OpenTelemetry traces; one with a `traceparent` as that says. Where
    spans go is `RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH`, by default files beside the logs."""


class MetricsConfig(Strict):
    """Where Prometheus finds this node's metrics."""

    port: int = Field(default=8080, ge=1, le=65535)


class AutoscalingConfig(Strict):
    """How many replicas there are, and when there are more."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: float = Field(default=2, gt=0)
    upscale_delay_s: float = Field(default=5, ge=0)
    downscale_delay_s: float = Field(default=120, ge=0)
    metrics_interval_s: float = Field(default=2, gt=0)
    """Between two reports of a replica."""
    look_back_period_s: float = Field(default=10, gt=0)
    """What is compared with the target is the mean of so long."""

    @model_validator(mode="after")
    def _ordered(self) -> AutoscalingConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is above max_replicas")
        return self


class ImageConfig(Strict):
    """What an upload may be."""

    max_bytes: int = Field(default=20 * 2**20, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1)
    max_images: int = Field(default=256, ge=1)
    """Images in one request."""
    max_request_bytes: int = Field(default=64 * 2**20, ge=1)
    body_seconds: float = Field(default=60.0, gt=0)
    """A body that does not come within this is given up."""


class DeploymentConfig(Strict):
    """What both deployments have."""

    autoscaling: AutoscalingConfig = AutoscalingConfig()
    images: ImageConfig = ImageConfig()
    graceful_shutdown_timeout_s: float = Field(default=20.0, gt=0)
    health_check_period_s: float = Field(default=10.0, gt=0)
    health_check_timeout_s: float = Field(default=30.0, gt=0)
    max_surge_percent: int = Field(default=100, ge=0, le=100)
    """Replicas of a new version that start before old ones stop, of those there are. They need room
    in the cluster: zero stops old ones first, where there is none."""
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Resources of the cluster's own that a replica takes: they say on which nodes it may be."""
    gpu_memory_mib: int | None = Field(default=None, ge=256)
    """What a replica may take of its GPU, where several share one; by default it takes what it
    needs, as it needs it."""
    engine_threads: int = Field(default=2, ge=1)
    """Threads that one batch is spread over; in a lane of the classifier, as many as `num_cpus`."""
    cores: tuple[Core, ...] | None = Field(default=None, min_length=1)
    """The processor's cores that its replicas keep to, by number; any by default."""
    niceness: int = Field(default=0, ge=0, le=19)
    """How far its replicas stand back for other processes that want the same cores."""


class ClassifierAutoscalingConfig(AutoscalingConfig):
    """A replica is a process, and keeps a core busy: there is one for each of two cores."""

    min_replicas: int = Field(default=2, ge=0)
    max_replicas: int = Field(default=2, ge=1)
    target_ongoing_requests: float = Field(default=0.7, gt=0)


class ClassifierConfig(DeploymentConfig):
    """The classifier deployment."""

    autoscaling: ClassifierAutoscalingConfig = ClassifierAutoscalingConfig()
    lanes: int = Field(default=1, ge=1)
    """Batches under way at once in a replica, each in a thread that decodes and infers."""
    max_batch_size: int = Field(default=16, ge=1)
    """A batch is what has queued while the lanes were busy, and at most this."""
    max_ongoing_requests: int = Field(default=128, ge=1)
    """Images in a replica at once; more are refused. Below max_batch_size no batch fills."""
    deadline_seconds: float = Field(default=10.0, gt=0)
    cache_bytes: int = Field(default=16 * 2**20, ge=0)
    """Answers that each replica keeps, some 400 bytes each; zero keeps none."""
    niceness: int = Field(default=5, ge=0, le=19)
    """Above zero, so that what brings requests to it goes first: HAProxy, or a proxy of Ray's."""

    @model_validator(mode="after")
    def _batches_can_fill(self) -> ClassifierConfig:
        if self.max_ongoing_requests < self.max_batch_size:
            raise ValueError("max_ongoing_requests is below max_batch_size: batches never fill")
        return self


class OneImageConfig(ImageConfig):
    """An explanation is of one image."""

    max_images: int = Field(default=1, ge=1, le=1)


class ExplainerConfig(DeploymentConfig):
    """The explainer deployment, an application of its own: seconds of work for each image."""

    enabled: bool = True
    max_ongoing_requests: int = Field(default=8, ge=1)
    """Explanations in a replica at once: one is being made, the others wait; more are refused."""
    max_samples: int = Field(default=5000, ge=2, le=100_000)
    """The most that a request may ask for."""
    batch_size: int = Field(default=32, ge=1, le=1024)
    """Perturbed images that the engine sees at once."""
    images: OneImageConfig = OneImageConfig()
    deadline_seconds: float = Field(default=20.0, gt=0)
    """From the request on; then sampling ends, and what is known is answered."""
    cache_bytes: int = Field(default=64 * 2**20, ge=0)
    """Answers that each replica keeps; zero keeps none."""
    niceness: int = Field(default=15, ge=0, le=19)
    graceful_shutdown_timeout_s: float = Field(default=25.0, gt=0)


class CandidateAutoscalingConfig(ClassifierAutoscalingConfig):
    """A share of the images is little work."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=1, ge=1)


class CandidateConfig(Strict):
    """A second bundle on trial, in a deployment of its own: but for this, as the classifier's."""

    bundle: str | None = None
    """A bundle, or a registry, whose current version is tried: a folder or URI; by default none."""
    shadow: Share = 0.0
    """Of the images, those that it is asked about when they are answered, to be compared."""
    canary: Share = 0.0
    """Of the images, those that it answers. Where it does not, the bundle that serves does."""
    deadline_seconds: float = Field(default=1.0, gt=0)
    """After this a canary is answered by the bundle that serves."""
    max_ongoing_requests: int = Field(default=32, ge=1)
    """Images that each replica of the classifier asks it about at once; others go without it."""
    autoscaling: CandidateAutoscalingConfig = CandidateAutoscalingConfig()
    niceness: int = Field(default=10, ge=0, le=19)
    """Above the classifier's: on shared cores what serves goes first."""

    @model_validator(mode="after")
    def _shares_of_something(self) -> CandidateConfig:
        if self.shadow + self.canary > 1:
            raise ValueError("shadow and canary are more than all images together")
        if self.bundle is None and self.shadow + self.canary:
            raise ValueError("shadow and canary are a candidate's: candidate.bundle=PATH names it")
        return self


class EngineConfig(Strict):
    """What predicts, in all deployments: an explanation is of the engine that serves."""

    engine: EngineKind = "auto"
    """`auto`: TensorFlow where there is a GPU, OpenVINO on processors if the bundle has it."""
    precision: PrecisionKind = "auto"
    """`auto`: the fastest that the bundle has."""


class ServeConfig(EngineConfig):
    """Everything `pintag serve` reads."""

    http: HttpConfig = HttpConfig()
    metrics: MetricsConfig = MetricsConfig()
    access: AccessConfig = AccessConfig()
    log: LogConfig = LogConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    explainer: ExplainerConfig = ExplainerConfig()
    candidate: CandidateConfig = CandidateConfig()

    @property
    def deployments(self) -> tuple[DeploymentConfig, ...]:
        """Those that are to be started."""
        explainer = [self.explainer] if self.explainer.enabled else []
        candidate = [self.trial] if self.candidate.bundle else []
        return (self.classifier, *explainer, *candidate)

    @property
    def trial(self) -> ClassifierConfig:
        """The candidate's deployment."""
        own = self.candidate.model_dump(include={"autoscaling", "niceness"})
        return ClassifierConfig.model_validate({**self.classifier.model_dump(), **own})


class ApplicationArgs(EngineConfig):
    """What any application is built from: a bundle, and how to serve it."""

    bundle: str
    """Its folder or URI, which every node reads for itself."""
    log: LogConfig = LogConfig()


class ClassifierArgs(ApplicationArgs):
    """What the classifier application is built from."""

    access: AccessConfig = AccessConfig()
    explained: bool = True
    """Whether the explainer application is there, too: the page and the document tell of it."""
    classifier: ClassifierConfig = ClassifierConfig()
    candidate: CandidateConfig = CandidateConfig()


class CandidateArgs(ApplicationArgs):
    """What the candidate application is built from."""

    classifier: ClassifierConfig = ClassifierConfig()


class ExplainerArgs(ApplicationArgs):
    """What the explainer application is built from."""

    access: AccessConfig = AccessConfig()
    explainer: ExplainerConfig = ExplainerConfig()
