"""Decoder processes: equal pixels, limits of time, crashes, and the end of their owner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from pintag.core import machine
from pintag.core.errors import DecodingError, ImageTooLargeError, NotAnImageError
from pintag.images import decoder_pool
from pintag.images.decoder_pool import DecoderPool, DecoderStartError
from pintag.images.decoding import DEFAULT_LIMITS, EncodedImage, decode
from pintag.images.limits import ImageLimits
from tests.conftest import lives, wait_for
from tests.pintag.images.encoded import ENCODED, encode, exif, orientation, smooth
from tests.pintag.images.hostile import slow_jpeg

Processes = Callable[[], list[psutil.Process]]
SLOW = slow_jpeg()
SMALL = ENCODED["JPEG"]
# Whatever the machine, far less than SLOW takes, and more than SMALL takes.
SHORT = ImageLimits(decode_timeout_s=0.1)
LONG = ImageLimits(decode_timeout_s=60)


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    with contextlib.closing(DecoderPool(1)) as pool:
        yield pool


@pytest.fixture
def processes() -> Processes:
    """Lists the decoder processes that were started since the test began."""
    before = set(psutil.Process().children())
    return lambda: [child for child in psutil.Process().children() if child not in before]


@pytest.mark.parametrize("size", [None, 8])
def test_pixels_are_equal_in_another_process(pool: DecoderPool, size: int | None) -> None:
    turned = encode(smooth(64, 48), "JPEG", exif=exif(orientation(6)))
    for data in (*ENCODED.values(), turned):
        here = EncodedImage(data).decode_here(size)
        np.testing.assert_array_equal(pool.decode(data, DEFAULT_LIMITS, size), here)


def test_a_large_image_has_the_same_pixels_wherever_it_is_decoded() -> None:
    for form in ("JPEG", "PNG"):
        data = encode(smooth(1600, 1200), form)
        image = EncodedImage(data)
        assert image.is_slow
        np.testing.assert_array_equal(image.decode(160), image.decode_here(160))
        assert decode(data, longest=400).shape == ((300, 400, 3), (1200, 1600, 3))[form == "PNG"]


def test_errors_keep_their_kind(pool: DecoderPool, processes: Processes) -> None:
    with pytest.raises(NotAnImageError, match="cut off or damaged"):
        pool.decode(SMALL[:400], DEFAULT_LIMITS)
    with pytest.raises(ImageTooLargeError, match="32x24 pixels"):
        pool.decode(SMALL, ImageLimits(max_decoded_pixels=9))
    assert pool.decode(SMALL, DEFAULT_LIMITS).any()
    assert len(processes()) == 1


def test_an_image_that_takes_too_long_is_stopped_and_others_go_on(pool: DecoderPool) -> None:
    with pytest.raises(DecodingError, match=r"takes more than 0\.1 s to decode, the limit"):
        pool.decode(SLOW, SHORT, 8)
    for _ in range(2):
        assert pool.decode(SMALL, SHORT, 8).any()


def test_time_is_counted_for_each_image(pool: DecoderPool, processes: Processes) -> None:
    for _ in range(20):
        pool.decode(ENCODED["PNG"], ImageLimits(decode_timeout_s=0.1))
    assert len(processes()) == 1


def test_a_crash_is_the_error_of_one_image(pool: DecoderPool, processes: Processes) -> None:
    pool.decode(SMALL, DEFAULT_LIMITS)
    (decoder,) = processes()
    outcome: list[BaseException] = []

    def decode_slowly() -> None:
        try:
            pool.decode(SLOW, LONG)
        except DecodingError as error:
            outcome.append(error)

    thread = threading.Thread(target=decode_slowly)
    before = sum(decoder.cpu_times()[:2])
    thread.start()
    wait_for(lambda: sum(decoder.cpu_times()[:2]) > before + 0.02, what="decoding to begin")
    decoder.send_signal(signal.SIGSEGV)
    thread.join(60)

    (error,) = outcome
    assert "ended the decoder (exit status -11)" in str(error)
    assert pool.decode(SMALL, DEFAULT_LIMITS).any()


def test_a_process_that_died_while_idle_costs_no_image(
    pool: DecoderPool, processes: Processes
) -> None:
    pool.decode(SMALL, DEFAULT_LIMITS)
    (decoder,) = processes()
    decoder.kill()
    wait_for(lambda: not lives(decoder))
    assert pool.decode(SMALL, DEFAULT_LIMITS).any()


def test_more_images_than_processes_wait(pool: DecoderPool, processes: Processes) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(pool.decode(SMALL, LONG).size))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [24 * 32 * 3] * 4
    assert len(processes()) == 1


def test_a_process_that_was_started_in_advance_is_used(
    pool: DecoderPool, processes: Processes
) -> None:
    pool.start()
    started = processes()
    pool.decode(SMALL, DEFAULT_LIMITS)
    assert processes() == started
    assert len(started) == 1


def test_a_closed_pool_leaves_no_process(processes: Processes) -> None:
    with contextlib.closing(DecoderPool(1)) as pool:
        pool.decode(SMALL, DEFAULT_LIMITS)
        (decoder,) = processes()
    assert not lives(decoder)


def test_modules_of_the_working_directory_are_not_imported(
    pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    assert pool.decode(SMALL, DEFAULT_LIMITS).any()


def test_a_decoder_that_cannot_start_is_a_fault_of_the_machine(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_pool, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(DecoderStartError, match=r"cannot start \(exit status 3\)"):
        pool.decode(SMALL, DEFAULT_LIMITS)


def test_a_decoder_that_is_killed_while_it_starts_is_started_again(
    pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    kill = (
        f"import os, pathlib; first = pathlib.Path({str(first)!r});"
        "first.exists() or (first.touch(), os.kill(os.getpid(), 9));"
    )
    monkeypatch.setattr(decoder_pool, "_PROGRAM", kill + decoder_pool._PROGRAM)
    assert pool.decode(SMALL, DEFAULT_LIMITS).any()
    assert first.exists()


# Says that it is ready, and ends when an image is on its way to it; the first time only, or always.
_LOST = """
import os, pathlib, sys
from multiprocessing.connection import Connection
first = pathlib.Path({first!r})
if {always} or not first.exists():
    first.touch()
    connection = Connection(int(sys.argv[1]))
    connection.send_bytes(b"ready")
    connection.recv_bytes()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("data", [SMALL, encode(smooth(2000, 1500), "PNG")], ids=["small", "large"])
def test_a_decoder_that_ends_before_it_begins_costs_no_image(
    pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    lost = _LOST.format(first=str(tmp_path / "first"), always=False)
    monkeypatch.setattr(decoder_pool, "_PROGRAM", lost + decoder_pool._PROGRAM)
    assert pool.decode(data, DEFAULT_LIMITS, 8).any()
    assert (tmp_path / "first").exists()


def test_decoders_that_all_end_before_they_begin_are_a_fault_of_the_machine(
    pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = _LOST.format(first=str(tmp_path / "first"), always=True)
    monkeypatch.setattr(decoder_pool, "_PROGRAM", lost)
    with pytest.raises(DecoderStartError, match=r"before it began .* \(exit status -9\)"):
        pool.decode(SMALL, DEFAULT_LIMITS)


def test_a_decoder_that_does_not_run_is_replaced(pool: DecoderPool, processes: Processes) -> None:
    pool.decode(SMALL, DEFAULT_LIMITS)
    (stopped,) = processes()
    stopped.suspend()
    assert pool.decode(SMALL, SHORT, 8).any()
    assert not lives(stopped)


def test_decoders_end_with_their_owner_even_if_it_is_killed() -> None:
    program = (
        "import sys, time; from pintag.images import decoder_pool, limits;"
        "decoder_pool.shared().decode(sys.stdin.buffer.read(), limits.ImageLimits());"
        "print('decoded', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with owner:
        assert owner.stdin
        assert owner.stdout
        owner.stdin.write(SMALL)
        owner.stdin.close()
        assert owner.stdout.readline() == b"decoded\n"
        (decoder,) = psutil.Process(owner.pid).children()
        owner.kill()
    wait_for(lambda: not lives(decoder), what="the decoder to end")


def test_a_decoder_imports_neither_an_engine_nor_ray() -> None:
    program = "import sys; from pintag.images import decoder_process; print(*sys.modules)"
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert not packages & {"ray", "tensorflow", "keras", "openvino", "scipy", "pydantic", "httpx"}


def test_the_shared_pool_has_one_process_more_than_the_container_has_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    class FakePool:
        def __init__(self, processes: int) -> None:
            sizes.append(processes)

        def close(self) -> None: ...

    monkeypatch.setattr(machine, "allowed_cpus", lambda: 3)
    monkeypatch.setattr(decoder_pool, "DecoderPool", FakePool)
    monkeypatch.setattr(decoder_pool, "_shared", None)
    decoder_pool.shared()
    assert sizes == [4]
