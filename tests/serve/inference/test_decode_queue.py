"""The order of slow images, with decoders that are held and only record what they get."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pintag.core.errors import ImageTooLargeError
from pintag.core.types import Pixels
from pintag.images.decoding import EncodedImage
from pintag.serve.deployment_config import ClassifierConfig
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.core_sharing import BusyLock
from pintag.serve.inference.decode_queue import DecodeQueue
from pintag.serve.inference.predictor import Predictor
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.pintag.images.hostile import jpeg_header, wide_webp
from tests.serve.conftest import INFO
from tests.serve.inference.test_predictor import SIZE, BrightnessModel

pytestmark = pytest.mark.ray

WEBP_S, PHOTO_S, DEADLINE_S = 1.2, 0.08, 10.0


class Decoder:
    """Records the names of images in the order in which they are decoded, once it is released."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.busy, self.released = threading.Event(), threading.Event()

    def decode(self, name: str) -> Pixels:
        self.busy.set()
        assert self.released.wait(30)
        self.order.append(name)
        return np.zeros((1, 1, 3), np.uint8)

    def work(self, name: str) -> Callable[[], Pixels]:
        return lambda: self.decode(name)


async def decode(
    queue: DecodeQueue, decoder: Decoder, client: str, seconds: float, count: int = 1
) -> None:
    """A request with some equal images; its client is their name."""
    with queue.admit(client, seconds * count) as turns:
        work = [decoder.work(client)] * count
        await asyncio.gather(*(turns.decode(seconds, each) for each in work))


def started(*arguments: Any) -> asyncio.Future[None]:
    """A request that has begun."""
    return asyncio.ensure_future(decode(*arguments))


async def until_busy(decoder: Decoder) -> None:
    assert await asyncio.to_thread(decoder.busy.wait, 30)


async def until_waiting(queue: DecodeQueue, count: int) -> None:
    while sum(len(client.waiting) for client in queue._clients.values()) != count:
        await asyncio.sleep(0)


def run(
    steps: Callable[[DecodeQueue, Decoder], Coroutine[Any, Any, None]],
    cores: float = 1,
    deadline_s: float = DEADLINE_S,
) -> list[str]:
    """Run the steps with one decoder, and return the order in which images were decoded."""
    decoder, queue = Decoder(), DecodeQueue(1, cores, deadline_s)
    asyncio.run(asyncio.wait_for(steps(queue, decoder), 30))
    assert not queue._clients
    return decoder.order


@pytest.mark.parametrize("clients", [1, 2, 20])
def test_a_photograph_waits_for_the_decode_in_progress_only(clients: int) -> None:
    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        batches = [
            started(queue, decoder, f"batch {number % clients}", WEBP_S, 5) for number in range(20)
        ]
        await until_busy(decoder)
        photo = started(queue, decoder, "photo", PHOTO_S)
        # One image of each request waits, apart from the one in progress.
        await until_waiting(queue, 20)
        decoder.released.set()
        await asyncio.gather(photo, *batches)

    order = run(steps, deadline_s=1000)
    assert order.index("photo") == 1
    assert len(order) == 101


def test_a_photograph_goes_before_batches_of_its_own_client() -> None:
    """Behind a proxy all clients are one."""

    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        async def photo() -> None:
            with queue.admit("proxy", PHOTO_S) as turns:
                await turns.decode(PHOTO_S, decoder.work("photo"))

        batches = [started(queue, decoder, "proxy", WEBP_S, 5) for _ in range(20)]
        await until_busy(decoder)
        last = asyncio.ensure_future(photo())
        await until_waiting(queue, 20)
        decoder.released.set()
        await asyncio.gather(last, *batches)

    assert run(steps, deadline_s=1000).index("photo") == 1


def test_clients_take_turns_however_many_requests_they_have() -> None:
    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        first = started(queue, decoder, "in progress", WEBP_S)
        await until_busy(decoder)
        many = [started(queue, decoder, "many", WEBP_S) for _ in range(12)]
        few = [started(queue, decoder, "few", WEBP_S) for _ in range(4)]
        await until_waiting(queue, 16)
        decoder.released.set()
        await asyncio.gather(first, *many, *few)

    order = run(steps, deadline_s=1000)[1:]
    assert [set(order[at : at + 2]) for at in range(0, 8, 2)] == [{"many", "few"}] * 4


def test_a_request_that_takes_longer_than_the_deadline_is_too_large() -> None:
    words = r"^decoding may take 10\.8 s, and the deadline is 10 s; send smaller images, or"
    with (
        pytest.raises(ImageTooLargeError, match=words),
        DecodeQueue(1, 9, DEADLINE_S).admit("one", 9 * WEBP_S),
    ):
        pass


# The seconds of requests in progress by client, those of another request of "me", and the seconds
# until it would be decoded, if it is refused for that.
ADMISSIONS: dict[str, tuple[list[tuple[str, float]], float, float | None]] = {
    "alone": ([], 10, None),
    "beside another client": ([("other", 5)], 5, None),
    "longer than its half": ([("other", 9)], 6, 12),
    "beside its own": ([("me", 5)], 5, None),
    "longer than beside its own": ([("me", 9)], 6, 12),
    "a photograph beside all that is admitted": ([("other", 9.9), ("me", 0.1)], 0.2, None),
    "a photograph beside its own": ([("me", 9.9)], 0.2, None),
    "a little of each of many": ([(f"{number}", 0.2) for number in range(49)], 0.2, None),
    "too many equal ones": ([(f"{number}", 0.2) for number in range(50)], 0.2, 10.2),
    "its own and others": ([("other", 5), ("me", 4)], 4, 13),
}


@pytest.mark.parametrize(("in_progress", "seconds", "refused"), ADMISSIONS.values(), ids=ADMISSIONS)
def test_what_equal_shares_would_decode_before_the_deadline_is_admitted(
    in_progress: list[tuple[str, float]], seconds: float, refused: float | None
) -> None:
    queue = DecodeQueue(2, 1, DEADLINE_S)
    with contextlib.ExitStack() as stack:
        for client, each in in_progress:
            stack.enter_context(queue.admit(client, each))
        if refused is None:
            stack.enter_context(queue.admit("me", seconds))
        else:
            words = f"^decoding would take {refused:.1f} s beside the images in progress, and the "
            with pytest.raises(OverloadedError, match=words) as raised:
                stack.enter_context(queue.admit("me", seconds))
            waits = math.ceil(min(DEADLINE_S, sum(each for _, each in in_progress)))
            assert raised.value.headers == {"Retry-After": str(waits)}
    with queue.admit("me", DEADLINE_S):
        pass


def test_two_cores_decode_twice_as_much() -> None:
    queue = DecodeQueue(2, 2, DEADLINE_S)
    with queue.admit("one", 10), queue.admit("two", 10):
        with pytest.raises(OverloadedError, match=r"would take 15\.0 s"), queue.admit("three", 10):
            pass
        with queue.admit("three", 6):
            pass


def test_one_client_leaves_a_decoder_to_the_others() -> None:
    """Its images wait for its own; the image of another client does not."""

    async def steps() -> None:
        queue, held, free = DecodeQueue(3, 1, 1000), Decoder(), Decoder()
        many = [started(queue, held, "many", WEBP_S) for _ in range(5)]
        await until_waiting(queue, 3)
        free.released.set()
        await decode(queue, free, "other", PHOTO_S)
        # The other thread may still be about to take its own away.
        assert queue._running["many"] == 2
        held.released.set()
        await asyncio.gather(*many)
        assert held.order == ["many"] * 5

    asyncio.run(asyncio.wait_for(steps(), 30))


def test_images_that_take_long_of_many_clients_leave_a_decoder_to_the_others() -> None:
    async def steps() -> None:
        queue, held, free = DecodeQueue(3, 1, 1000), Decoder(), Decoder()
        long = [started(queue, held, f"client {number}", WEBP_S) for number in range(5)]
        await until_waiting(queue, 3)
        free.released.set()
        for _ in range(3):
            await decode(queue, free, "other", PHOTO_S)
        assert queue._running_long == 2
        held.released.set()
        await asyncio.gather(*long)
        assert sorted(held.order) == [f"client {number}" for number in range(5)]
        await asyncio.to_thread(queue._threads.shutdown)
        assert queue._running_long == 0

    asyncio.run(asyncio.wait_for(steps(), 30))


def test_images_whose_requests_have_ended_count_until_they_are_decoded() -> None:
    async def steps() -> None:
        queue, held, free = DecodeQueue(2, 1, 1000), Decoder(), Decoder()
        gone = started(queue, held, "one", WEBP_S)
        await until_busy(held)
        gone.cancel()
        await asyncio.wait([gone])
        again = started(queue, held, "one", WEBP_S)
        free.released.set()
        await decode(queue, free, "other", PHOTO_S)
        await until_waiting(queue, 1)
        held.released.set()
        await again

    asyncio.run(asyncio.wait_for(steps(), 30))


def test_what_is_decoded_does_not_count_any_more() -> None:
    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        decoder.released.set()
        with queue.admit("one", 9) as turns:
            await turns.decode(8, decoder.work("one"))
            with queue.admit("two", 9):
                pass

    assert run(steps) == ["one"]


def test_a_request_that_ends_takes_its_images_with_it() -> None:
    """Its tasks are cancelled, but have not run since."""

    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        first = started(queue, decoder, "first", 1)
        await until_busy(decoder)
        with queue.admit("gone", 2) as turns:
            waiting = asyncio.ensure_future(turns.decode(1, decoder.work("gone")))
            await asyncio.sleep(0)
            waiting.cancel()
        decoder.released.set()
        await first
        await asyncio.wait([waiting])

    assert run(steps) == ["first"]


def test_a_cancelled_image_is_skipped_and_leaves_the_memory_at_once() -> None:
    class Work:
        def __call__(self) -> Pixels:
            raise AssertionError("decoded")

    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        first = started(queue, decoder, "first", 1)
        await until_busy(decoder)
        work = Work()
        kept = weakref.ref(work)
        with queue.admit("second", 2) as turns:
            waiting = asyncio.ensure_future(turns.decode(1, work))
            del work
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            del waiting
            gc.collect()
            assert kept() is None
            decoder.released.set()
            await first
            await turns.decode(1, decoder.work("second"))

    assert run(steps) == ["first", "second"]


def test_an_error_belongs_to_its_image() -> None:
    def fail() -> Pixels:
        raise MemoryError

    async def steps(queue: DecodeQueue, decoder: Decoder) -> None:
        decoder.released.set()
        with queue.admit("one", 2) as turns:
            with pytest.raises(MemoryError):
                await turns.decode(1, fail)
            await turns.decode(1, decoder.work("next"))

    assert run(steps) == ["next"]


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    """Stands for the decoders of a predictor; a photograph has 12 megapixels."""
    decoder = Decoder()

    def decode(image: EncodedImage, size: int) -> Pixels:
        decoder.decode("photo" if image.pixels == 12_000_000 else "wide")
        return np.zeros((SIZE, SIZE, 3), np.uint8)

    monkeypatch.setattr(EncodedImage, "decode", decode)
    return decoder


def predictor(folder: Path, deadline_s: float = DEADLINE_S) -> Predictor:
    config = ClassifierConfig(num_cpus=1, max_batch_size=4, deadline_s=deadline_s)
    model, busy = BrightnessModel(), BusyLock(folder)
    return Predictor(model, config, ClassifierMetrics(INFO), busy)  # type: ignore[arg-type]


def test_twenty_batches_do_not_delay_the_photograph_of_another_request(
    tmp_path: Path, decoder: Decoder
) -> None:
    """Each batch has 230 bytes, and declares 245 megapixels."""
    replica = predictor(tmp_path, deadline_s=1000)

    async def steps() -> None:
        wide = wide_webp(16383, 2990)
        batches = [asyncio.ensure_future(replica.predict([wide] * 5)) for _ in range(20)]
        # One image of each request waits, apart from the one in progress: all are of one client.
        await until_waiting(replica._decode_queue, 19)
        photo = asyncio.ensure_future(replica.predict([jpeg_header(4000, 3000)]))
        await until_waiting(replica._decode_queue, 20)
        decoder.released.set()
        await asyncio.gather(photo, *batches)

    asyncio.run(asyncio.wait_for(steps(), 30))
    assert decoder.order.index("photo") <= 2
    assert len(decoder.order) == 101


def test_batches_that_declare_as_much_as_they_may_leave_room_for_a_photograph(
    tmp_path: Path, decoder: Decoder
) -> None:
    """Each is half of what the ones before it left of a limit of 2,000 megapixels, or less."""
    replica = predictor(tmp_path, deadline_s=30)

    async def steps() -> None:
        wide, images = wide_webp(16383, 2990), [wide_webp(10_000, 4_000), wide_webp(10_000, 2_000)]
        sizes = [[wide] * count for count in (20, 10, 5, 2, 1, 1)]
        attacks = [
            asyncio.ensure_future(replica.predict(batch, client="attacker"))
            for batch in [*sizes, *([image] for image in images)]
        ]
        await asyncio.to_thread(decoder.busy.wait, 30)
        photo = asyncio.ensure_future(replica.predict([jpeg_header(4000, 3000)], client="other"))
        clients = replica._decode_queue._clients
        while not photo.done() and not ("other" in clients and clients["other"].waiting):
            await asyncio.sleep(0)
        decoder.released.set()
        [row] = await photo
        assert isinstance(row, np.ndarray)
        await asyncio.gather(*attacks, return_exceptions=True)

    asyncio.run(asyncio.wait_for(steps(), 60))
    assert decoder.order.index("photo") <= 2
