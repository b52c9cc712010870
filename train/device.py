"""What a worker computes on: devices, threads, precision, and the strategy that joins workers."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from pintag.dataset import threads
from train.config import TrainConfig


def set_up(config: TrainConfig, workers_here: int) -> Any:
    """Prepare this process for one run, and return its `MultiWorkerMirroredStrategy`.

    Must come before the first TensorFlow operation of the process. `workers_here` is the number
    of workers that share this machine's cores.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Otherwise TensorFlow takes all the memory of a GPU that it may share.
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.threading.set_intra_op_parallelism_threads(max(1, threads() // workers_here))
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    mixed = config.scaling.mixed_precision
    use_mixed = bool(gpus) if mixed == "auto" else mixed
    keras.config.set_dtype_policy("mixed_float16" if use_mixed else "float32")
    keras.utils.set_random_seed(config.seed)
    return strategy


def limit_threads(count: int) -> None:
    """Give TensorFlow so many threads, where it has not begun already."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
