"""A clock, an event loop with virtual time, and rate limiters in memory and in Redis."""

from __future__ import annotations

import asyncio
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pintag.serve.auth import redis_limiter
from pintag.serve.auth.api_keys import KeyHolder
from pintag.serve.auth.limits import RateLimits
from pintag.serve.auth.token_bucket import RateLimiter, TakeRequest, TakeResponse
from tests.conftest import free_port

T = TypeVar("T")
MIDNIGHT = 20_000 * 86400.0
NOON = MIDNIGHT + 43200.0
PASSWORD = "secret"

SyncTake = Callable[[TakeRequest], TakeResponse]
"""`RateLimiter.take` of any rate limiter."""


class Clock:
    """A Unix time that stands still."""

    def __init__(self, seconds: float = NOON) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def client(limits: RateLimits, since: float = 0.0, identity: str = "mine:1") -> KeyHolder:
    return KeyHolder(identity.partition(":")[0], identity, limits, since)


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer. `clock` follows it."""

    def __init__(self, clock: Clock) -> None:
        self._virtual_s = 0.0
        self._rate_clock = clock
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._virtual_s

    def jump(self, seconds: float) -> None:
        self._virtual_s += seconds
        self._rate_clock.seconds += seconds


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "every task waits for another one"
        if timeout:
            self._loop.jump(timeout)
            timeout = 0
        return super().select(timeout)


def run(work: Coroutine[Any, Any, T], clock: Clock) -> T:
    """The result of a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualTime(clock)) as runner:
        return runner.run(work)


class RedisByScript:
    """The script of the rate limiter in Redis at times of a clock, called without an event loop."""

    def __init__(self, redis: Any, clock: Clock) -> None:
        redis.flushdb()
        self._redis, self._clock = redis, clock
        self._script = redis.register_script(redis_limiter.SCRIPT)

    def take(self, request: TakeRequest) -> TakeResponse:
        keys = [redis_limiter.key(request.client)]
        return redis_limiter.decode(
            self._script(keys=keys, args=redis_limiter.arguments(request, self._clock()))
        )


class RedisServer:
    """A Redis that requires PASSWORD, and keeps what it has when it is killed: as k8s/base does."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        """Without the password."""
        self.restarts = -1
        self._process: subprocess.Popen[bytes] | None = None

    def restart(self) -> None:
        """Kill the server, if it runs, and start it again with its file."""
        import redis

        self.stop()
        self.restarts += 1
        command = [
            "redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "",
            # By default Redis keeps back what it writes for up to two seconds if the disk is busy.
            "--appendonly", "yes", "--appendfsync", "always",
            "--requirepass", PASSWORD, "--dir", str(self._folder),
        ]  # fmt: skip
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        with redis.Redis(port=self._port, password=PASSWORD) as client:
            # While it reads its file it answers with an error.
            while not _answers(client, redis.RedisError):
                assert self._process.poll() is None, (self._folder / "log").read_text()
                time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    pytest.importorskip("redis", reason="the package redis is not installed")
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed (Debian's package)")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.restart()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a Redis that requires PASSWORD; the URL does not have the password."""
    return redis_server.url


def _answers(client: Any, error: type[Exception]) -> bool:
    try:
        return bool(client.ping())
    except error:
        return False


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Any]:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # A call that is sent again after a timeout, on a busy machine, could count twice.
    options: dict[str, Any] = {"socket_timeout": 60, "retry": Retry(NoBackoff(), 0)}
    with redis.Redis.from_url(
        redis_url, password=PASSWORD, decode_responses=True, **options
    ) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis"])
def take(request: pytest.FixtureRequest, clock: Clock) -> SyncTake:
    """A rate limiter without counts, in memory and in Redis."""
    if request.param == "memory":
        return RateLimiter(clock).take
    return RedisByScript(request.getfixturevalue("redis_client"), clock).take
