"""Recognises a pintag server that already runs on this machine, by what it answers."""

from __future__ import annotations

import httpx

from pintag.serve.nodes import addresses

_TIMEOUT_S = 2.0


def answers(host: str, port: int) -> bool:
    """Whether a pintag server answers requests at this address. It needs no key for that."""
    try:
        return bool(_get(host, port, "/openapi.json").json()["info"]["title"] == "pintag")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


def exports_metrics(host: str, port: int) -> bool:
    """Whether the metrics of a pintag server are read at this address."""
    try:
        return "ray_pintag_" in _get(host, port, "/metrics").text
    except httpx.HTTPError:
        return False


def _get(host: str, port: int, path: str) -> httpx.Response:
    # Whatever proxy the user has: the server is on this machine.
    return httpx.get(addresses.url(host, port) + path, timeout=_TIMEOUT_S, trust_env=False)
