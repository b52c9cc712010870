"""Engines: raw pixels in, calibrated confidences out, as fast as the hardware allows.

Knows nothing of files, HTTP or Ray; it is given a network and a temperature.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pintag.images import Pixels

if TYPE_CHECKING:
    import keras

Confidences = npt.NDArray[np.float32]

# What every program on a GPU opens under Linux: NVIDIA's driver, and that of Windows' Linux.
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")


class Engine(Protocol):
    """What predicts. Safe to call from several threads at once."""

    name: str
    precision: str
    """Of its arithmetic: `fp32`, `fp16` or `int8`."""
    input_size: int

    def predict(self, pixels: Pixels) -> Confidences:
        """`uint8[N,S,S,3]` to `float32[N,C]`, rows summing to one; N is at least 1."""
        ...


class TensorFlowEngine:
    """One `tf.function`: network, temperature and softmax in one graph, on a processor or a GPU."""

    name = "tensorflow"

    def __init__(
        self,
        network: keras.Model,
        temperature: float = 1.0,
        *,
        sizes: Sequence[int] = (),
        xla: bool = False,
    ) -> None:
        """Compiles a program for each of `sizes`, now, and none afterwards.

        Args:
            sizes: batches are padded to the next of these, and larger ones divided; none: a batch
                is taken as it is, by one program for all sizes.
            xla: compile with XLA, which makes a program for every size that it meets.
        """
        self.input_size = int(network.input_shape[1])
        self.precision = "fp16" if network.compute_dtype == "float16" else "fp32"
        self._sizes = sorted(sizes)
        self._function = graph(network, temperature, sizes=bool(sizes), xla=xla)
        for size in self._sizes:
            self._function(np.zeros((size, self.input_size, self.input_size, 3), np.uint8))

    @property
    def programs(self) -> int:
        """How many programs were built so far."""
        return int(self._function.experimental_get_tracing_count())

    def predict(self, pixels: Pixels) -> Confidences:
        """See `Engine.predict`.

        Raises:
            ValueError: the array is no `uint8[N,S,S,3]` of this network's size, or is empty.
        """
        check_batch(pixels, self.input_size)
        if not self._sizes:
            return np.asarray(self._function(pixels), np.float32)
        largest = self._sizes[-1]
        parts = [pixels[start : start + largest] for start in range(0, len(pixels), largest)]
        return np.concatenate([self._padded(part) for part in parts])

    def _padded(self, pixels: Pixels) -> Confidences:
        count = len(pixels)
        size = next(size for size in self._sizes if size >= count)
        if size > count:
            filled = np.zeros((size, *pixels.shape[1:]), np.uint8)
            filled[:count] = pixels
            pixels = filled
        return np.asarray(self._function(pixels), np.float32)[:count]


def graph(
    network: keras.Model, temperature: float, *, sizes: bool = False, xla: bool = False
) -> Any:
    """A `tf.function` from `uint8[N,S,S,3]` to confidences: network, temperature and softmax.

    Args:
        sizes: one program for each N, instead of one for all.
    """
    import tensorflow as tf

    pixels = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)
    # A constant of the graph, so that it is folded rather than fetched.
    scale = 1.0 / temperature

    def confidences(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(network(images, training=False), tf.float32) * scale)

    signature = None if sizes else [pixels]
    return tf.function(confidences, input_signature=signature, jit_compile=xla or None)


def check_batch(pixels: Pixels, input_size: int) -> None:
    """Refuse what would otherwise be cast, broadcast or crash inside a runtime."""
    expected = (input_size, input_size, 3)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
        raise ValueError(
            f"expected uint8[N,{input_size},{input_size},3], got {pixels.dtype}{list(pixels.shape)}"
        )
    if not len(pixels):
        raise ValueError("an empty batch has no confidences")


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU; it is imported only where there may be one."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def configure_gpu(memory_mib: int | None = None) -> None:
    """Let TensorFlow share the GPUs of this process; call before its first operation.

    Args:
        memory_mib: what it may take of each, for several processes on one GPU; without it memory
            grows as it is needed.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        if memory_mib is None:
            tf.config.experimental.set_memory_growth(gpu, True)
        else:
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=memory_mib)
            tf.config.set_logical_device_configuration(gpu, [limit])


def configure_threads(intra_op: int, inter_op: int = 1) -> None:
    """Set TensorFlow's thread pools of this process; call before its first operation.

    Args:
        intra_op: threads inside one operation; 0 lets TensorFlow take every core.
        inter_op: operations at once.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
