"""Module names of release 0.1, for Ray Serve configurations that were deployed with them.

This folder is an entry of PYTHONPATH on the nodes of a cluster, so that Ray finds `serve.app` here.
To be removed in 0.3.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
