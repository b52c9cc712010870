"""OpenVINO: the engine for processors; the whole graph in one file, preprocessing included.

A model is `uint8[N,S,S,3]` to `float32[N,C]` confidences, as every engine is: network, temperature
and softmax. Knows files, and nothing of data sets or of how a model was quantised.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pintag.engine import Confidences, check_batch, graph
from pintag.images import Pixels

if TYPE_CHECKING:
    import keras

Precision = Literal["fp32", "int8"]

# The program for batches of all sizes that have none of their own.
_ANY = 0

# OpenVINO and NNCF report each use to their makers where this package is found; here it is not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class _Requests(threading.local):
    """A thread's own."""

    def __init__(self) -> None:
        self.by_size: dict[int, Any] = {}


class OpenVINOEngine:
    """A model compiled; every thread that predicts has inference requests of its own."""

    name = "openvino"

    def __init__(
        self, model: Any, precision: Precision, threads: int = 0, sizes: Sequence[int] = ()
    ) -> None:
        """Compile for this machine's processor.

        Args:
            model: an `openvino.Model`, or the path of one.
            threads: cores that one batch is spread over; 0 lets OpenVINO take every core.
            sizes: batches that get a program of their own beside the one for all sizes: a lone
                image takes a tenth less by it, a full batch some per cent.

        Raises:
            RuntimeError: OpenVINO cannot read or compile it.
        """
        import openvino

        self.precision: str = precision
        core = openvino.Core()
        read = core.read_model(model) if isinstance(model, Path) else model
        self.input_size = int(read.input().partial_shape[1].get_length())
        options: dict[str, Any] = {
            # One batch on all threads. Streams, a batch on each, are for callers without batches.
            "PERFORMANCE_HINT": "LATENCY",
            # Processors with bfloat16 would silently use it: confidences differ by up to 0.2.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two processes would pin their threads to the same core, and share it: half the speed.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        models = {_ANY: read} | {size: _of(read, size) for size in sizes}
        self._programs = {
            size: core.compile_model(each, "CPU", options) for size, each in models.items()
        }
        self._requests = _Requests()

    def predict(self, pixels: Pixels) -> Confidences:
        """See `pintag.engine.Engine.predict`.

        Raises:
            ValueError: the array is no `uint8[N,S,S,3]` of this model's size, or is empty.
        """
        check_batch(pixels, self.input_size)
        result = self._request(len(pixels)).infer(np.ascontiguousarray(pixels), share_inputs=True)
        return np.array(result[0], np.float32)

    def _request(self, size: int) -> Any:
        """This thread's, for a batch of a size."""
        size = size if size in self._programs else _ANY
        mine = self._requests.by_size
        if size not in mine:
            mine[size] = self._programs[size].create_infer_request()
        return mine[size]


def _of(model: Any, size: int) -> Any:
    """The model for batches of one size."""
    sized = model.clone()
    sized.reshape([size, *sized.input().partial_shape[1:]])
    return sized


def convert(network: keras.Model, temperature: float = 1.0) -> Any:
    """The `openvino.Model` of a network with its temperature and softmax, in float32."""
    import openvino

    return openvino.convert_model(graph(network, temperature).get_concrete_function())


def save(model: Any, path: Path) -> None:
    """Write `path` (`.xml`) and the weights beside it (`.bin`)."""
    import openvino

    # Half precision on disk would be another model than the one that was evaluated.
    openvino.save_model(model, path, compress_to_fp16=False)
