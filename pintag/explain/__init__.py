"""Explanations: which superpixels are evidence for a label, and how reliable that is."""
