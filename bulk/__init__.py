"""Bulk tagging: the back catalogue, by a pool of engines on Ray Data."""
