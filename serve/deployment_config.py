"""The configuration of the deployments. A key that Ray Serve has too has the same name there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from pintag.core.config import Strict
from pintag.images.limits import ImageLimits
from pintag.models.bundle import EngineKind, PrecisionKind

Core = Annotated[int, Field(ge=0, lt=2**16)]
Share = Annotated[float, Field(ge=0, le=1)]
# More than anybody needs, and less than what Ray, HAProxy and the clocks of Python take as a
# number: a week, 31 bits, a terabyte, and a million cores.
Seconds = Annotated[float, Field(le=604_800)]
Count = Annotated[int, Field(le=2**31 - 1)]
Memory = Annotated[int, Field(le=2**40)]
Amount = Annotated[float, Field(le=1_000_000)]


class AutoscalingConfig(Strict):
    """The number of replicas, and when it changes."""

    min_replicas: Count = Field(default=1, ge=0)
    """The number of replicas without load."""
    max_replicas: Count = Field(default=1, ge=1)
    """The highest number of replicas."""
    target_ongoing_requests: Amount = Field(default=2, gt=0)
    """Replicas are added while each has more requests than this on average."""
    upscale_delay_s: Seconds = Field(default=5, ge=0)
    """Seconds that the load must be too high before replicas are added."""
    downscale_delay_s: Seconds = Field(default=120, ge=0)
    """Seconds that the load must be low before replicas are removed."""
    metrics_interval_s: Seconds = Field(default=2, gt=0)
    """Seconds between two reports of a replica."""
    look_back_period_s: Seconds = Field(default=10, gt=0)
    """The target is compared with the mean over this many seconds."""

    @model_validator(mode="after")
    def _ordered(self) -> AutoscalingConfig:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is above max_replicas")
        return self


class ImageConfig(Strict):
    """The limits of an upload. Commands that read files, such as `train`, `tag` and `bulk`, have
    the defaults of these limits: the files are the user's own, not those of strangers."""

    renamed_keys: ClassVar[Mapping[str, str]] = {
        "body_seconds": "body_timeout_s",
        "max_pixels": "max_declared_pixels",
    }

    max_bytes: Count = Field(default=20 * 2**20, ge=1)
    """Bytes of one encoded image."""
    max_declared_pixels: Count = Field(default=250_000_000, ge=1)
    """Width times height of one image. Phones write photographs of 200 megapixels."""
    max_decoded_pixels: Count = Field(default=50_000_000, ge=1)
    """Pixels of one image that are decoded. A JPEG can be decoded at an eighth of its width and
    height, unless it is progressive. A decoder takes some 20 bytes of memory for each pixel."""
    decode_timeout_s: Seconds = Field(default=5.0, ge=0.001)
    """Seconds of a processor that decoding one image may take; then it gets status 422."""
    heif: bool = True
    """Whether HEIC and AVIF are accepted, where a decoder is installed (the package pillow-heif,
    which `make setup` installs)."""
    max_images: Count = Field(default=256, ge=1)
    """Images in one request."""
    max_request_bytes: Count = Field(default=64 * 2**20, ge=1)
    """Bytes of one request."""
    body_timeout_s: Seconds = Field(default=60.0, gt=0)
    """A request whose body has not arrived within this time gets status 408."""

    @property
    def limits(self) -> ImageLimits:
        """The limits of one image."""
        return ImageLimits(
            max_bytes=self.max_bytes,
            max_declared_pixels=self.max_declared_pixels,
            max_decoded_pixels=self.max_decoded_pixels,
            decode_timeout_s=self.decode_timeout_s,
            heif=self.heif,
        )


class DeploymentConfig(Strict):
    """The settings that all deployments have."""

    autoscaling: AutoscalingConfig = AutoscalingConfig()
    images: ImageConfig = ImageConfig()
    graceful_shutdown_timeout_s: Seconds = Field(default=20.0, gt=0)
    """Seconds that a stopping replica has for the requests in flight."""
    health_check_period_s: Seconds = Field(default=10.0, gt=0)
    """Seconds between two health checks of a replica."""
    health_check_timeout_s: Seconds = Field(default=30.0, gt=0)
    """Seconds after which a health check counts as failed."""
    max_surge_percent: int = Field(default=100, ge=0, le=100)
    """How many replicas of a new version start before old ones stop, in percent of all. They need
    free resources in the cluster; 0 stops old replicas first, for a cluster without any."""
    num_cpus: Amount = Field(default=1.0, ge=0)
    """Processor cores that Ray reserves for a replica."""
    num_gpus: Amount = Field(default=0.0, ge=0)
    """GPUs that Ray reserves for a replica."""
    resources: dict[str, Annotated[Amount, Field(gt=0)]] = Field(default_factory=dict)
    """Custom resources of Ray that a replica takes; they decide on which nodes it can run."""
    gpu_memory_mib: Count | None = Field(default=None, ge=256)
    """GPU memory in MiB that a replica may take, if several share a GPU; by default there is no
    limit, and memory is taken as it is needed."""
    engine_threads: Count = Field(default=2, ge=1)
    """Threads of the engine; for a batch the classifier uses `num_cpus` / `num_batch_threads`."""
    cores: tuple[Core, ...] | None = Field(default=None, min_length=1)
    """The numbers of the processor cores that its replicas run on; any by default."""
    niceness: int = Field(default=0, ge=0, le=19)
    """The niceness of its processes: with a higher one, other processes go first."""


class ClassifierAutoscalingConfig(AutoscalingConfig):
    """A replica is a process that can use one core: by default there are two, for two cores."""

    min_replicas: Count = Field(default=2, ge=0)
    max_replicas: Count = Field(default=2, ge=1)
    target_ongoing_requests: Amount = Field(default=0.7, gt=0)


class ClassifierConfig(DeploymentConfig):
    """The classifier deployment."""

    renamed_keys: ClassVar[Mapping[str, str]] = {
        "lanes": "num_batch_threads",
        "deadline_seconds": "deadline_s",
    }
    removed_keys: ClassVar[Mapping[str, str]] = {
        "max_ongoing_pixels": "deadline_s limits what is decoded at once",
    }

    autoscaling: ClassifierAutoscalingConfig = ClassifierAutoscalingConfig()
    num_batch_threads: Count = Field(default=1, ge=1)
    """Threads of a replica that each decode and predict one batch at a time."""
    max_batch_size: Count = Field(default=16, ge=1)
    """A batch has the images that queued while all batch threads were busy, up to this number."""
    max_ongoing_requests: Count = Field(default=128, ge=1)
    """Images in a replica at once; more are refused. Below max_batch_size no batch would fill. A
    request gets at most half of what is free, and has so many of its images in progress."""
    max_ongoing_bytes: Memory = Field(default=512 * 2**20, ge=2)
    """Bytes of encoded images in a replica at once; a request gets at most half of what is free."""
    deadline_s: Seconds = Field(default=10.0, gt=0)
    """An image that still waits or is in progress after this time gets status 504. It counts from
    the admission of the request. What an idle replica tags at once, in milliseconds, has no
    deadline. A request whose images cannot be decoded by then, beside those in progress, is
    refused."""
    cache_bytes: Memory = Field(default=16 * 2**20, ge=0)
    """The size of each replica's cache of answers, some 400 bytes each; 0: no cache."""
    niceness: int = Field(default=5, ge=0, le=19)
    """Above 0, so that HAProxy or Ray's proxy, which forward the requests, go first."""

    @model_validator(mode="after")
    def _batches_can_fill(self) -> ClassifierConfig:
        if self.max_ongoing_requests < self.max_batch_size:
            raise ValueError("max_ongoing_requests is below max_batch_size: batches never fill")
        return self


class OneImageConfig(ImageConfig):
    """The limits of an upload to the explainer, which is always one image."""

    max_images: int = Field(default=1, ge=1, le=1)


class ExplainerConfig(DeploymentConfig):
    """The explainer deployment; a separate application, as an explanation takes seconds."""

    renamed_keys: ClassVar[Mapping[str, str]] = {"deadline_seconds": "deadline_s"}

    enabled: bool = True
    """Whether there are explanations, in the API and on the page."""
    max_ongoing_requests: Count = Field(default=8, ge=1)
    """Explanations in a replica at once: one is computed, the others wait; more are refused."""
    max_samples: int = Field(default=5000, ge=2, le=100_000)
    """The highest number of samples that a request can set."""
    batch_size: int = Field(default=32, ge=1, le=1024)
    """Perturbed images in one batch of the engine."""
    images: OneImageConfig = OneImageConfig()
    deadline_s: Seconds = Field(default=20.0, gt=0)
    """After this time sampling stops, and the result so far is the answer."""
    cache_bytes: Memory = Field(default=64 * 2**20, ge=0)
    """The size of each replica's cache of explanations; 0: no cache."""
    niceness: int = Field(default=15, ge=0, le=19)
    graceful_shutdown_timeout_s: Seconds = Field(default=25.0, gt=0)


class CandidateAutoscalingConfig(ClassifierAutoscalingConfig):
    """A candidate gets a share of the images: one replica by default."""

    min_replicas: Count = Field(default=1, ge=0)
    max_replicas: Count = Field(default=1, ge=1)


class CandidateConfig(Strict):
    """A second bundle, which a separate deployment tries on real uploads.

    Its other settings are those of the classifier.
    """

    renamed_keys: ClassVar[Mapping[str, str]] = {"deadline_seconds": "deadline_s"}

    bundle: str | None = None
    """The folder or URI of a bundle, or of a registry, whose current version is tried; by default
    there is no candidate."""
    shadow: Share = 0.0
    """The share of images that it predicts after they are answered, for a comparison."""
    canary: Share = 0.0
    """The share of images that it answers. If it fails, the classifier's bundle answers."""
    deadline_s: Seconds = Field(default=1.0, gt=0)
    """After this time the classifier's bundle answers a canary request."""
    max_ongoing_requests: Count = Field(default=32, ge=1)
    """Images of each classifier replica that it has at once; more are not sent to it."""
    autoscaling: CandidateAutoscalingConfig = CandidateAutoscalingConfig()
    niceness: int = Field(default=10, ge=0, le=19)
    """Above the classifier's: on shared cores the classifier goes first."""

    @model_validator(mode="after")
    def _shares_fit(self) -> CandidateConfig:
        if self.shadow + self.canary > 1:
            raise ValueError("shadow and canary add up to more than 1, all images")
        if self.bundle is None and self.shadow + self.canary:
            raise ValueError("shadow and canary need a candidate: set candidate.bundle=PATH")
        return self


class EngineConfig(Strict):
    """The engine of all deployments: explanations use the same one as tags."""

    engine: EngineKind = "auto"
    """`auto`: TensorFlow where there is a GPU, OpenVINO on processors if the bundle has it."""
    precision: PrecisionKind = "auto"
    """`auto`: the fastest precision that the bundle has."""
