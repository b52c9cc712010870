"""Engines: libraries that run a network, from pixels to calibrated confidences."""
