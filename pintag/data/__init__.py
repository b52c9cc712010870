"""Data sets: scanning folders, labels, checks, and a synthetic sample."""
