"""Fuzzes `decoding.decode` with atheris (libFuzzer), for as long as you like.

    pip install atheris    # in a separate environment, with pillow and numpy
    PYTHONPATH=. python tests/fuzz/decode.py corpus -max_total_time=3600

For all bytes `decode` must return `uint8[S,S,3]` or raise an `ImageError`, within 10 s and 1 GiB of
memory. Anything else ends the run, and libFuzzer writes the bytes to a file. The corpus starts with
a small picture of each format and mode; libFuzzer adds inputs that reach new code.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "pintag"]):
    import numpy as np
    from PIL import Image

    from pintag.core.errors import ImageError
    from pintag.images import decoding

SIZE = 32
# Smaller than the limits of an upload, so that inputs over the limits are generated too.
LIMITS = decoding.ImageLimits(max_bytes=2**16, max_declared_pixels=2**20)
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "P", "1"),
}


def seeds() -> Iterator[tuple[str, bytes]]:
    """A name and an encoded picture for each format and mode, with EXIF if the format has it."""
    shades = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    picture = Image.fromarray(shades)
    exif = Image.Exif()
    exif[0x0112] = 6
    for form, modes in MODES.items():
        for mode in modes:
            grey = Image.fromarray(shades[..., 0].astype(np.uint16) << 8)
            image = grey if mode == "I;16" else picture.convert(mode)
            options = {} if form in ("GIF", "BMP") else {"exif": exif}
            buffer = io.BytesIO()
            image.save(buffer, form, **options)
            yield f"{form}-{mode.replace(';', '')}", buffer.getvalue()


def try_one(data: bytes) -> None:
    """Decode bytes; raise an AssertionError if the result is not as promised."""
    try:
        pixels = decoding.decode(data, SIZE, LIMITS)
    except ImageError:
        return
    if pixels.dtype != np.uint8 or pixels.shape != (SIZE, SIZE, 3):
        raise AssertionError(f"{pixels.dtype}{pixels.shape}")


def main() -> None:
    """Run the fuzzer. The arguments are a folder for the corpus and libFuzzer's own options."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)
    arguments = ["-timeout=10", "-rss_limit_mb=1024", f"-max_len={LIMITS.max_bytes + 1024}"]
    atheris.Setup([sys.argv[0], *arguments, *sys.argv[1:]], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
