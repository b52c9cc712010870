"""Fits one model with Ray Train and writes a bundle."""
