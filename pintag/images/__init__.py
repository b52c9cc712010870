"""Images: their formats and headers, limits, and decoding to pixels."""
