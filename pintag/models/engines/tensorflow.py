"""The TensorFlow engine: network, temperature and softmax in one `tf.function`.

It runs on a CPU or a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pintag.core.types import Confidences, Pixels

if TYPE_CHECKING:
    import keras

# Device files of GPUs: NVIDIA's driver on Linux, and the GPU of Windows Subsystem for Linux.
_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")


class TensorFlowEngine:
    """A compiled network with its temperature and softmax."""

    name = "tensorflow"

    def __init__(
        self,
        network: keras.Model,
        temperature: float = 1.0,
        *,
        sizes: Sequence[int] = (),
        xla: bool = False,
    ) -> None:
        """Compile a program for each of `sizes` now.

        Args:
            sizes: batches are padded to the next of these sizes, and larger batches are divided.
                If empty, one program takes batches of any size.
            xla: compile with XLA, which compiles every new batch size separately.
        """
        self.input_size = int(network.input_shape[1])
        self.precision = "fp16" if network.compute_dtype == "float16" else "fp32"
        self._sizes = sorted(sizes)
        self._function = graph(network, temperature, sizes=bool(sizes), xla=xla)
        for size in self._sizes:
            self._function(np.zeros((size, self.input_size, self.input_size, 3), np.uint8))

    @property
    def programs(self) -> int:
        """The number of programs compiled so far."""
        return int(self._function.experimental_get_tracing_count())

    def predict(self, pixels: Pixels) -> Confidences:
        """`uint8[N,S,S,3]` to `float32[N,C]`; see `pintag.core.types.Engine.predict`.

        Raises:
            ValueError: the array has another type or shape, or is empty.
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
        sizes: compile a program for each N, instead of one for all.
    """
    import tensorflow as tf

    pixels = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)
    # A Python float becomes a constant, which the graph optimizer can fold.
    scale = 1.0 / temperature

    def confidences(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(network(images, training=False), tf.float32) * scale)

    signature = None if sizes else [pixels]
    return tf.function(confidences, input_signature=signature, jit_compile=xla or None)


def check_batch(pixels: Pixels, input_size: int) -> None:
    """Raise a ValueError for an array that a runtime would cast, broadcast or crash on."""
    expected = (input_size, input_size, 3)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
        raise ValueError(
            f"expected uint8[N,{input_size},{input_size},3], got {pixels.dtype}{list(pixels.shape)}"
        )
    if not len(pixels):
        raise ValueError("expected at least one image, got an empty batch")


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU. TensorFlow is not imported if no GPU driver is loaded."""
    if sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def configure_gpu(memory_mib: int | None = None) -> None:
    """Let processes share a GPU; call it before TensorFlow's first operation.

    Args:
        memory_mib: the memory limit on each GPU in MiB; by default memory grows as needed.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        if memory_mib is None:
            tf.config.experimental.set_memory_growth(gpu, True)
        else:
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=memory_mib)
            tf.config.set_logical_device_configuration(gpu, [limit])


def configure_threads(intra_op: int, inter_op: int = 1) -> None:
    """Set the sizes of TensorFlow's thread pools; call it before the first operation.

    Args:
        intra_op: threads for one operation; 0 is all cores.
        inter_op: operations that run at the same time.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
