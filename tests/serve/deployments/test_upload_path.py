"""How many files of the server an upload passes through, from its first byte to its answer."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType

import httpx
import pytest

from pintag.serve.deployment_config import CandidateConfig
from pintag.serve.deployments import classifier
from tests.conftest import ROOT
from tests.pintag.images.encoded import ENCODED
from tests.serve.deployments.test_routing import ServedModel, new_classifier

pytestmark = pytest.mark.ray

SERVER = ROOT / "serve"
BODY = ENCODED["JPEG"]


def carries_upload(frame: FrameType) -> bool:
    """Whether a function has the image, alone or in a list, or the channel from which it comes."""
    return "receive" in frame.f_locals or any(map(is_upload, frame.f_locals.values()))


def is_upload(value: object) -> bool:
    content = value[0] if isinstance(value, list) and value else value
    return isinstance(content, bytes) and content == BODY


def post(carriers: set[str]) -> httpx.Response:
    """Upload an image; add the files of functions that carry it."""

    def record(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename).resolve()
        if event == "call" and path.is_relative_to(SERVER) and carries_upload(frame):
            carriers.add(path.relative_to(SERVER).as_posix())

    async def steps() -> httpx.Response:
        app = new_classifier(0, CandidateConfig()).__serve_build_asgi_app__()
        sys.setprofile(record)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://pintag") as client:
            return await client.post("/v1/tags", content=BODY)

    try:
        return asyncio.run(steps())
    finally:
        sys.setprofile(None)


def test_an_upload_passes_eight_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "LoadedModel", ServedModel)
    carriers: set[str] = set()
    assert post(carriers).status_code == 200
    assert {"api/tags.py", "deployments/classifier.py", "inference/predictor.py"} < carriers
    assert len(carriers) <= 8, carriers
