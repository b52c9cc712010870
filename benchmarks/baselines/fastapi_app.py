"""A server of the same work with plain FastAPI and uvicorn: no batching, two threads.

PINTAG_BUNDLE=runs/pins uvicorn --app-dir benchmarks/baselines fastapi_app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from pintag.images import decoding
from pintag.models import bundle

loaded = bundle.load(Path(os.environ["PINTAG_BUNDLE"]))
engine = loaded.engine()
model = {"name": loaded.manifest.name, "version": loaded.manifest.version}
engine.predict(np.zeros((1, engine.input_size, engine.input_size, 3), np.uint8))


@asynccontextmanager
async def _two_threads(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 2
    yield


app = FastAPI(lifespan=_two_threads)


def _tag(data: bytes) -> list[dict[str, Any]]:
    pixels = decoding.decode(data, engine.input_size)
    tags = loaded.labels.top(engine.predict(pixels[np.newaxis])[0], 5, 0.0)
    return [{"label": tag.label, "confidence": tag.confidence} for tag in tags]


@app.post("/v1/tags")
async def tags(request: Request) -> dict[str, Any]:
    """The image as the raw body."""
    return {"model": model, "tags": await run_in_threadpool(_tag, await request.body())}
