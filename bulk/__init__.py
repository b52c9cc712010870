"""Bulk tagging: offline inference over a whole catalogue, with Ray Data."""
