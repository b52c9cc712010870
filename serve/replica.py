"""What a replica of either application begins with: its share of the machine, and a bundle."""

from __future__ import annotations

import functools

import numpy as np

from pintag import images, remote
from pintag.engine import Confidences, Engine, configure_gpu, configure_threads
from pintag.images import Limits, Pixels
from serve import process, protocol
from serve.config import DeploymentConfig, EngineConfig
from serve.problems import log


class Replica:
    """One bundle, ready to predict as the configuration has it."""

    def __init__(self, place: str, config: DeploymentConfig, engine: EngineConfig) -> None:
        """Takes the process's share of the machine before the engine starts its threads.

        Raises:
            BundleError: the bundle cannot be loaded, or has no such engine.
            DataError: it is in a store that cannot be reached, or refuses.
            RuntimeError: its engine cannot predict.
            ValueError: this machine has no such cores.
        """
        process.share(config.cores, config.niceness)
        loaded = remote.load(place)
        choice = loaded.choose(engine.engine, engine.precision)
        if choice.kind == "tensorflow":
            configure_threads(config.engine_threads)
            configure_gpu(config.gpu_memory_mib)
        log.info("%s %s by %s", loaded.manifest.name, loaded.manifest.version, choice)
        # The classifier asks it about lone images, and `check` about one in every replica.
        self.engine = loaded.engine(choice, config.engine_threads, sizes=[1])
        self._build = functools.partial(loaded.engine, choice)
        self.labels = loaded.labels
        self.limits = Limits(config.images.max_bytes, config.images.max_pixels)
        self.info = protocol.model_info(loaded, self.engine)
        self.model = protocol.Model(name=self.info.name, version=self.info.version)
        # Before anybody sends it a request.
        self.check()

    def decode(self, data: bytes) -> Pixels:
        """An encoded image as the engine reads it: `uint8[S,S,3]`.

        Raises:
            ImageError: it is no image that is accepted.
        """
        return images.decode(data, self.engine.input_size, self.limits)

    def blank(self, count: int) -> Pixels:
        """A batch to try the engine with."""
        size = self.engine.input_size
        return np.zeros((count, size, size, 3), np.uint8)

    def engine_for(self, size: int, threads: int) -> Engine:
        """The same engine, at its best with batches of a size on a number of threads."""
        # TensorFlow's threads are the process's: there is no other engine to have.
        return self.engine if self.engine.name == "tensorflow" else self._build(threads, [size])

    def check(self) -> None:
        """Run the engine on one image: a replica that cannot predict is not healthy."""
        predict(self.engine, self.blank(1))


def predict(engine: Engine, pixels: Pixels) -> Confidences:
    """What an engine says.

    Raises:
        RuntimeError: it predicts what are no numbers.
    """
    found = engine.predict(pixels)
    if not np.isfinite(found).all():
        raise RuntimeError("the engine predicts confidences that are no numbers")
    return found
