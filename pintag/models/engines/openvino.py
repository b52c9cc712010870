"""The OpenVINO engine: fast inference on CPUs.

An OpenVINO model is the whole graph from `uint8[N,S,S,3]` to `float32[N,C]` confidences in one
file: preprocessing, network, temperature and softmax.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pintag.core.types import Confidences, Pixels
from pintag.models.engines.tensorflow import check_batch, graph

if TYPE_CHECKING:
    import keras

Precision = Literal["fp32", "int8"]

# The key of the program that takes batches of any size.
_ANY = 0

# OpenVINO and NNCF send usage statistics if they can import this package; this prevents it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class _RequestPool(threading.local):
    """The inference requests of the current thread, by batch size."""

    def __init__(self) -> None:
        self.by_size: dict[int, Any] = {}


class OpenVINOEngine:
    """A compiled model; every thread that predicts has its own inference requests."""

    name = "openvino"

    def __init__(
        self, model: Any, precision: Precision, threads: int = 0, sizes: Sequence[int] = ()
    ) -> None:
        """Compile a model for this machine's CPU.

        Args:
            model: an `openvino.Model`, or the path of its `.xml` file.
            threads: the number of cores for one batch; 0 is all cores.
            sizes: batch sizes to compile separately. This saves 10 % of the time of a single image
                and a few per cent of a full batch.

        Raises:
            RuntimeError: OpenVINO cannot read or compile it.
        """
        import openvino

        self.precision: str = precision
        core = openvino.Core()
        read = core.read_model(model) if isinstance(model, Path) else model
        self.input_size = int(read.input().partial_shape[1].get_length())
        options: dict[str, Any] = {
            # All threads work on one batch; callers form the batches.
            "PERFORMANCE_HINT": "LATENCY",
            # Otherwise OpenVINO uses bfloat16 where it can: confidences differ by up to 0.2.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two processes would pin their threads to the same cores: half the speed.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        models = {_ANY: read} | {size: _with_batch_size(read, size) for size in sizes}
        self._programs = {
            size: core.compile_model(variant, "CPU", options) for size, variant in models.items()
        }
        self._requests = _RequestPool()

    def predict(self, pixels: Pixels) -> Confidences:
        """`uint8[N,S,S,3]` to `float32[N,C]`; see `pintag.core.types.Engine.predict`.

        Raises:
            ValueError: the array has another type or shape, or is empty.
        """
        check_batch(pixels, self.input_size)
        result = self._request(len(pixels)).infer(np.ascontiguousarray(pixels), share_inputs=True)
        return np.array(result[0], np.float32)

    def _request(self, size: int) -> Any:
        """The current thread's inference request for a batch size."""
        size = size if size in self._programs else _ANY
        requests = self._requests.by_size
        if size not in requests:
            requests[size] = self._programs[size].create_infer_request()
        return requests[size]


def _with_batch_size(model: Any, size: int) -> Any:
    """A copy of the model with a fixed batch size."""
    sized = model.clone()
    sized.reshape([size, *sized.input().partial_shape[1:]])
    return sized


def convert(network: keras.Model, temperature: float = 1.0) -> Any:
    """Convert a network, its temperature and the softmax to an `openvino.Model` in float32."""
    import openvino

    return openvino.convert_model(graph(network, temperature).get_concrete_function())


def save(model: Any, path: Path) -> None:
    """Write `path` (`.xml`) and the weights beside it (`.bin`)."""
    import openvino

    # With weights in half precision, the saved model would not be the one that was evaluated.
    openvino.save_model(model, path, compress_to_fp16=False)
