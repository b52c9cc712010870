"""The configuration in the formats of other programs: Ray Serve, a shell, Prometheus."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pintag.cluster import ray_variables
from pintag.serve import app, old_import_paths
from pintag.serve.config import ServeConfig
from pintag.serve.ingress import installation
from pintag.serve.lifecycle import follower
from pintag.serve.nodes import environment as ray_environment
from pintag.serve.nodes import ports

# The dashboard of Ray's head writes the addresses of its nodes' metrics to this file
# in its temporary folder (metrics_agent.py of Ray 2.60). The local cluster of `pintag serve` has no
# dashboard.
_DISCOVERY = "ray/prom_metrics_service_discovery.json"
_CLUSTER_NOTES = """\
# The dashboard of Ray's head writes this list of nodes into its temporary folder. Change the path
# if the head has another --temp-dir, and start it without --include-dashboard=false.
# The job haproxy has only the head's HAProxy: add the other nodes, NODE:PORT.
"""


def serve_config(config: ServeConfig, bundle: str, *, follow: bool = False) -> str:
    """The applications of a server as YAML, for `serve deploy` and KubeRay's `serveConfigV2`.

    Args:
        bundle: the folder or URI of a bundle, or of a registry to follow.
        follow: one application follows the registry and deploys the others.
    """
    planned = [follower.plan(config, bundle)] if follow else app.plan(config, bundle)
    return _yaml(
        {
            "proxy_location": "EveryNode",
            "http_options": {"host": config.http.host, "port": config.http.port},
            "logging_config": {"encoding": config.log.format.upper(), "log_level": "WARNING"},
            "applications": [
                {
                    "name": each.name,
                    "route_prefix": each.route_prefix,
                    "import_path": f"{each.builder.__module__}:{each.builder.__name__}",
                    "args": each.args.model_dump(mode="json"),
                }
                for each in planned
            ],
        }
    )


def environment(config: ServeConfig) -> str:
    """Shell commands that set the variables; to be run on every node before `ray start`."""
    variables = ports.chosen() | ray_environment.variables(config) | ray_variables.token_mode()
    if variables["RAY_SERVE_ENABLE_HA_PROXY"] == "1":
        variables |= installation.folders()
    lines = [f"export {key}={shlex.quote(value)}\n" for key, value in sorted(variables.items())]
    # The folder comes last, so that its modules do not hide those of the node.
    folder = shlex.quote(str(old_import_paths.FOLDER))
    return "".join([*lines, f'export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}"{folder}\n'])


def prometheus(config: ServeConfig) -> str:
    """The scrape configuration, as YAML, for a Prometheus on the head's machine.

    With `RAY_ADDRESS` set it covers all nodes of that cluster, else this machine.
    """
    # HAProxy's exporter listens on the server's address.
    host = "127.0.0.1" if config.http.host == "0.0.0.0" else config.http.host  # noqa: S104
    port = ports.haproxy_metrics(config.metrics.haproxy_port)
    haproxy = {
        "job_name": "haproxy",
        "scrape_interval": "10s",
        "static_configs": [{"targets": [f"{host}:{port}"]}],
    }
    notes = _CLUSTER_NOTES if os.environ.get("RAY_ADDRESS") else ""
    return notes + _yaml(
        {
            "scrape_configs": [
                {"job_name": "pintag", "scrape_interval": "10s", **_nodes(config)},
                *([haproxy] if port else []),
            ]
        }
    )


def _nodes(config: ServeConfig) -> dict[str, Any]:
    if os.environ.get("RAY_ADDRESS"):
        file = str(Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / _DISCOVERY)
        return {"file_sd_configs": [{"files": [file], "refresh_interval": "10s"}]}
    return {"static_configs": [{"targets": [f"127.0.0.1:{config.metrics.port}"]}]}


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=100)
