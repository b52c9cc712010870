"""A server of the same work with NVIDIA's Triton (pytriton): same decoder and engine, batching.

pytriton needs another version of NumPy than pintag. So it runs in its own virtual environment, with
nvidia-pytriton, pillow and openvino; `benchmarks/bench.py --triton PYTHON` names its interpreter.

    PYTHONPATH=. PYTHON benchmarks/baselines/triton.py runs/pins/openvino-int8.xml 8003
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from pintag.images import decoding
from pintag.models.engines.openvino import OpenVINOEngine


def main(model: str, port: int) -> None:
    """Serve until a signal."""
    engine = OpenVINOEngine(Path(model), "int8")

    @batch  # type: ignore[untyped-decorator]
    def infer(image: np.ndarray) -> dict[str, np.ndarray]:
        pixels = [decoding.decode(data, engine.input_size) for data in image[:, 0]]
        return {"confidences": engine.predict(np.stack(pixels))}

    config = TritonConfig(http_port=port, grpc_port=port + 1, metrics_port=port + 2, log_verbose=0)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="tags",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="confidences", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(
                max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=1000)
            ),
        )
        print("ready", flush=True)
        triton.serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
