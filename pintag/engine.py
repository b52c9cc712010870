"""Engines: raw pixels in, calibrated confidences out, as fast as the hardware allows.

Knows nothing of files, HTTP or Ray; it is given a network and a temperature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pintag.images import Pixels

if TYPE_CHECKING:
    import keras

Confidences = npt.NDArray[np.float32]


class Engine(Protocol):
    """What predicts. Safe to call from several threads at once."""

    name: str
    precision: str
    """Of its arithmetic: `fp32` or `int8`."""
    input_size: int

    def predict(self, pixels: Pixels) -> Confidences:
        """`uint8[N,S,S,3]` to `float32[N,C]`, rows summing to one; N is at least 1."""
        ...


class TensorFlowEngine:
    """One `tf.function` over any batch size: network, temperature and softmax in one graph."""

    name = "tensorflow"
    precision = "fp32"

    def __init__(self, network: keras.Model, temperature: float = 1.0) -> None:
        self.input_size = int(network.input_shape[1])
        self._function = graph(network, temperature)

    def predict(self, pixels: Pixels) -> Confidences:
        """See `Engine.predict`.

        Raises:
            ValueError: the array is no `uint8[N,S,S,3]` of this network's size, or is empty.
        """
        check_batch(pixels, self.input_size)
        return np.asarray(self._function(pixels), np.float32)


def graph(network: keras.Model, temperature: float) -> Any:
    """A `tf.function` from `uint8[N,S,S,3]` to confidences: network, temperature and softmax."""
    import tensorflow as tf

    pixels = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)
    # A constant of the graph, so that it is folded rather than fetched.
    scale = 1.0 / temperature

    def confidences(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(network(images, training=False), tf.float32) * scale)

    return tf.function(confidences, input_signature=[pixels])


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
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def configure_threads(intra_op: int, inter_op: int = 1) -> None:
    """Set TensorFlow's thread pools of this process; call before its first operation.

    Args:
        intra_op: threads inside one operation; 0 lets TensorFlow take every core.
        inter_op: operations at once.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra_op)
    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
