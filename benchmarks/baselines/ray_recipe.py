"""A server of the same work as Ray Serve's documentation shows it: `@serve.batch` and TensorFlow.

PINTAG_BUNDLE=runs/pins serve run --app-dir benchmarks/baselines ray_recipe:app
"""

# Ray Serve reads the annotations of `__call__`, so this module does not postpone annotations.

import os
from pathlib import Path
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request


@serve.deployment
class Recipe:
    """`model.predict` on batches of up to 32, which wait 10 ms."""

    def __init__(self, path: str) -> None:
        from pintag.images import decoding
        from pintag.models import bundle

        self._decode = decoding.decode
        self._loaded = bundle.load(Path(path))
        self._size = self._loaded.manifest.network.input_size
        self._model = self._loaded.network()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.01)  # type: ignore[untyped-decorator]
    async def predict(self, batch: list[Any]) -> list[Any]:
        """Logits to confidences, as the engines do."""
        logits = self._model.predict(np.stack(batch), verbose=0)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return list(powers / powers.sum(axis=1, keepdims=True))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """The image as the raw body."""
        pixels = self._decode(await request.body(), self._size)
        tags = self._loaded.labels.top(await self.predict(pixels), 5, 0.0)
        return {"tags": [{"label": tag.label, "confidence": float(tag.confidence)} for tag in tags]}


app = Recipe.bind(os.environ.get("PINTAG_BUNDLE", ""))  # type: ignore[attr-defined]
