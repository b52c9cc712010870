"""Metrics, calibration and significance of a model, and their plots."""
