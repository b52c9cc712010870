"""pintag: tag images the moment they are uploaded, and say why.

The library: images, data sets, models. It knows nothing of HTTP, Ray or the terminal.
"""

__version__ = "0.1.0"
