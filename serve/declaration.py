"""The server in the words of other programs: Ray's own file, a node's environment, Prometheus."""

from __future__ import annotations

import os
import shlex
from typing import Any

import yaml

from serve import app, server
from serve.config import ServeConfig

# The dashboard of Ray's head keeps a list of what its nodes export there (metrics_agent.py of Ray
# 2.60). `pintag serve` by itself starts none.
_DISCOVERY = "/tmp/ray/prom_metrics_service_discovery.json"  # noqa: S108
_HAPROXY = "RAY_SERVE_HAPROXY_METRICS_PORT"


def serve_config(config: ServeConfig, bundle: str) -> str:
    """For `serve deploy`, and as `serveConfigV2` for KubeRay: what `pintag serve` would start."""
    return _yaml(
        {
            "proxy_location": "EveryNode",
            "http_options": {"host": config.http.host, "port": config.http.port},
            "logging_config": {"encoding": config.log.format.upper(), "log_level": "WARNING"},
            "applications": [
                {
                    "name": each.name,
                    "route_prefix": each.route_prefix,
                    "import_path": f"{app.__name__}:{each.builder.__name__}",
                    "args": each.args.model_dump(mode="json"),
                }
                for each in app.plan(config, bundle)
            ],
        }
    )


def environment(config: ServeConfig) -> str:
    """For a shell on every node, before `ray start`."""
    told = server.environment(config).items()
    return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in sorted(told))


def prometheus(config: ServeConfig) -> str:
    """The scrape configuration for a Prometheus on the head's machine.

    With `RAY_ADDRESS` set, of every node that the head knows; else of this machine.
    """
    # HAProxy's exporter listens where the server does.
    host = "127.0.0.1" if config.http.host == "0.0.0.0" else config.http.host  # noqa: S104
    exporter = f"{host}:{server.FURTHER_PORTS[_HAPROXY]}"
    return _yaml(
        {
            "scrape_configs": [
                {
                    "job_name": "pintag",
                    "scrape_interval": "10s",
                    **_nodes(config),
                },
                {
                    "job_name": "haproxy",
                    "scrape_interval": "10s",
                    "static_configs": [{"targets": [exporter]}],
                },
            ]
        }
    )


def _nodes(config: ServeConfig) -> dict[str, Any]:
    if os.environ.get("RAY_ADDRESS"):
        return {"file_sd_configs": [{"files": [_DISCOVERY], "refresh_interval": "10s"}]}
    return {"static_configs": [{"targets": [f"127.0.0.1:{config.metrics.port}"]}]}


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=100)
