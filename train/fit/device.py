"""TensorFlow's settings in a worker: devices, threads, precision, distribution strategy."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from pintag.core import machine
from pintag.train.config import TrainConfig


def set_up(config: TrainConfig, workers_here: int) -> Any:
    """Configure TensorFlow in this process and return its `MultiWorkerMirroredStrategy`.

    Call it before the first TensorFlow operation of the process.

    Args:
        workers_here: the number of workers that share the cores of this machine.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Without this, TensorFlow allocates all memory of a GPU, which other processes may need.
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.threading.set_intra_op_parallelism_threads(
        max(1, machine.allowed_cpus() // workers_here)
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    mixed = config.scaling.mixed_precision
    use_mixed = bool(gpus) if mixed == "auto" else mixed
    keras.config.set_dtype_policy("mixed_float16" if use_mixed else "float32")
    keras.utils.set_random_seed(config.seed)
    return strategy


def limit_threads(count: int) -> None:
    """Limit TensorFlow to `count` threads, unless it has already started its thread pools."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
