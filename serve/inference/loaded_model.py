"""A bundle loaded into a replica: its engine, its labels, and the limits on its images."""

from __future__ import annotations

import functools

import numpy as np

from pintag.core.types import Engine, Pixels
from pintag.images import decoding
from pintag.models import remote
from pintag.models.engines.tensorflow import configure_gpu, configure_threads
from pintag.models.identity import Model
from pintag.serve import model_info
from pintag.serve.deployment_config import DeploymentConfig, EngineConfig
from pintag.serve.inference import cpu_share, decoders, pipeline
from pintag.serve.observability.logs import format_output_like_the_file, log


class LoadedModel:
    """One bundle, ready to predict with the configured engine."""

    def __init__(self, uri: str, config: DeploymentConfig, engine: EngineConfig) -> None:
        """Load the bundle, and run its engine once.

        The process is restricted to its cores first, before the engine starts its threads.

        Args:
            uri: the bundle's folder or URI.
            config: cores, niceness, threads and image limits.
            engine: which engine and precision to use.

        Raises:
            BundleError: the bundle cannot be loaded, or does not have this engine.
            DataError: the bundle's store cannot be reached, or refuses access.
            RuntimeError: the engine cannot predict.
            ValueError: this machine does not have the configured cores.
        """
        format_output_like_the_file()
        cpu_share.limit(config.cores, config.niceness)
        bundle = remote.load(uri)
        choice = bundle.choose(engine.engine, engine.precision)
        if choice.kind == "tensorflow":
            configure_threads(config.engine_threads)
            configure_gpu(config.gpu_memory_mib)
        log.info("%s %s by %s", bundle.manifest.name, bundle.manifest.version, choice)
        # The classifier predicts lone images with it, and `check` predicts one in every replica.
        self.engine = bundle.engine(choice, config.engine_threads, sizes=[1])
        self._build_engine = functools.partial(bundle.engine, choice)
        self.labels = bundle.labels
        self.limits = config.images.limits
        self.info = model_info.model_info(bundle, self.engine)
        self.model = Model(name=self.info.name, version=self.info.version)
        # Fail at start-up rather than with the first request.
        self.check()

    def decode(self, data: bytes) -> Pixels:
        """The pixels `uint8[S,S,3]` of an encoded image, in the engine's input size.

        Raises:
            ImageError: the image is not accepted.
            OverloadedError: it needs a decoder process, and none can start.
        """
        with decoders.start_errors_as_overload():
            return decoding.decode(data, self.engine.input_size, self.limits)

    def blank(self, count: int) -> Pixels:
        """A batch of black images, `uint8[count,S,S,3]`, for trying the engine."""
        size = self.engine.input_size
        return np.zeros((count, size, size, 3), np.uint8)

    def engine_for(self, size: int, threads: int) -> Engine:
        """The same engine, optimized for batches of `size` images on `threads` threads."""
        # TensorFlow's thread pool belongs to the process, so its engine cannot be built twice.
        if self.engine.name == "tensorflow":
            return self.engine
        return self._build_engine(threads, [size])

    def check(self) -> None:
        """Run the engine on one image.

        Raises:
            RuntimeError: the engine cannot predict, so the replica is unhealthy.
        """
        pipeline.infer(self.engine, self.blank(1))
