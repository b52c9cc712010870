"""The actor of Ray that counts: where it is started, and that it ends with the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.serve.auth import actor_limiter
from pintag.serve.config import AccessConfig, RateLimitConfig


def test_no_actor_is_started_without_keys_or_with_redis(tmp_path: Path) -> None:
    redis = RateLimitConfig(redis="redis://localhost")
    configs = AccessConfig(), AccessConfig(keys=tmp_path / "keys.yaml", rate_limits=redis)
    for config in configs:
        assert actor_limiter.start(config) is None
    actor_limiter.wait_for(None)


@pytest.mark.parametrize("is_there", [True, False])
def test_the_rate_limiter_of_0_1_ends_with_the_server(
    monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Both are detached actors: on a cluster that others share, nothing else would end them."""
    import ray

    def get_actor(name: str, namespace: str) -> tuple[str, str]:
        if not is_there:
            raise ValueError("there is no such actor")
        return name, namespace

    killed: list[object] = []
    monkeypatch.setattr(ray, "get_actor", get_actor)
    monkeypatch.setattr(ray, "kill", killed.append)
    actor_limiter.shut_down()
    both = [("token_buckets", "pintag"), ("meter", "pintag")]
    assert killed == (both if is_there else [])
