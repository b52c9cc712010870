"""Images and data sets: decoding, scanning folders, labels, checks, and a synthetic sample."""
