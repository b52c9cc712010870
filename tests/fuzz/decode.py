"""Bytes that grow stranger for as long as you like, into `images.decode`, by atheris (libFuzzer).

    pip install atheris    # in an environment of its own, with pillow and numpy
    PYTHONPATH=. python tests/fuzz/decode.py corpus -max_total_time=3600

Whatever the bytes are, `decode` gives `uint8[S,S,3]` or an `ImageError`, within seconds and inside
its limits: anything else ends the run, and is left in a file. The corpus begins with a small
picture of each format and mode; what finds new ways through Pillow's plugins is added to it.
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

    from pintag import images
    from pintag.errors import ImageError

SIZE = 32
# Below what an upload may have, so that what is too large is met with, too.
LIMITS = images.Limits(max_bytes=2**16, max_pixels=2**20)
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "P", "1"),
}


def seeds() -> Iterator[tuple[str, bytes]]:
    """A picture of each format and mode, with EXIF where there can be some."""
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
    """What is promised of any bytes."""
    try:
        pixels = images.decode(data, SIZE, LIMITS)
    except ImageError:
        return
    if pixels.dtype != np.uint8 or pixels.shape != (SIZE, SIZE, 3):
        raise AssertionError(f"{pixels.dtype}{pixels.shape}")


def main() -> None:
    """With libFuzzer's own options; see `-help=1`."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)
    arguments = ["-timeout=10", "-rss_limit_mb=1024", f"-max_len={LIMITS.max_bytes + 1024}"]
    atheris.Setup([sys.argv[0], *arguments, *sys.argv[1:]], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
