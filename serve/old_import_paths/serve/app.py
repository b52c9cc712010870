"""`import_path: serve.app:build` of release 0.1, which is `pintag.serve.app:build` now."""

from __future__ import annotations

import logging

from pintag.serve.app import build, build_candidate, build_explainer

__all__ = ["build", "build_candidate", "build_explainer"]

# Ray Serve writes this logger to the log file of the process that builds the application.
logging.getLogger("ray.serve").warning(
    "The import path serve.app is deprecated: use pintag.serve.app, as in pintag.serve.app:build"
)
