"""The configuration of HAProxy that the installed Ray writes, and a HAProxy with fake replicas."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pintag.serve.ingress.configuration import patch
from pintag.serve.ingress.installation import haproxy_binary
from pintag.serve.ingress.sections import Configuration
from pintag.serve.ingress.settings import IngressSettings
from tests.conftest import free_port, wait_for
from tests.serve.ingress.replicas import FakeReplica

Render = Callable[..., Path]


def patched(text: str, settings: IngressSettings) -> str:
    """A configuration of Ray with all rules."""
    configuration = Configuration(text)
    patch(configuration, settings)
    return str(configuration)


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """A function that writes a configuration for applications (path by name) with Ray's own code.

    It returns the path of the file. HAProxy accepts the file, and its ports are free. Other
    arguments are those of Ray's configuration that say in which state the node is.
    """
    from ray.serve._private.haproxy import HAProxyApi, HAProxyConfig
    from ray.serve.config import HTTPOptions

    def write(applications: dict[str, str], host: str = "127.0.0.1", **state: bool) -> Path:
        config = HAProxyConfig(
            socket_path=str(tmp_path / "admin.sock"),
            server_state_base=str(tmp_path),
            server_state_file=str(tmp_path / "state"),
            metrics_enabled=False,
            stats_port=free_port(),
            metrics_port=free_port(),
            http_options=HTTPOptions(host=host, port=free_port()),
            **state,
        )
        backends = {f"http-{name}": backend(name, path) for name, path in applications.items()}
        api = HAProxyApi(config, backends, str(tmp_path / "haproxy.cfg"))
        api._generate_config_file_internal()
        return Path(api.config_file_path)

    return write


def backend(name: str, path: str) -> object:
    """An application with two replicas, and Ray's own proxy behind them."""
    from ray.serve._private.haproxy import BackendConfig, ServerConfig

    return BackendConfig(
        name=f"http-{name}",
        app_name=name,
        path_prefix=path,
        servers=[
            ServerConfig(f"SERVE_REPLICA_{name}-{letter}", "127.0.0.1", free_port())
            for letter in "ab"
        ],
        fallback_server=ServerConfig("SERVE_PROXY_ACTOR-node", "127.0.0.1", free_port()),
    )


@dataclass(frozen=True)
class Ingress:
    """A running HAProxy, and the fake replicas behind it by name, such as `classifier-a`."""

    port: int
    replicas: dict[str, FakeReplica]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Start = Callable[..., contextlib.AbstractContextManager[Ingress]]


@pytest.fixture
def start(render: Render, tmp_path: Path) -> Start:
    """A context manager that runs HAProxy with these settings, in front of fake replicas.

    If it is `proxied`, each connection begins with a line that has the client's address. With
    `fallback` something that calls itself "proxy" answers in place of Ray's own proxy.
    """

    @contextlib.contextmanager
    def run(
        settings: IngressSettings,
        running: str = "ab",
        retries: str = "",
        proxied: bool = False,
        fallback: bool = False,
        **state: bool,
    ) -> Iterator[Ingress]:
        path = render({"classifier": "/", "explainer": "/v1/explanations"}, **state)
        text = path.read_text()
        if retries:
            text = re.sub(r"retry-on .*", f"retry-on {retries}", text)
        text = patched(text, settings)
        if proxied:
            text = re.sub(r"(frontend http_frontend\n *bind \S+)", r"\1 accept-proxy", text)
        path.write_text(text)
        servers = re.findall(r"server SERVE_REPLICA_(\S+) 127.0.0.1:(\d+)", text)
        bind = re.search(r"frontend http_frontend\n *bind \S+:(\d+)", text)
        assert bind
        command = [haproxy_binary(), "-dS", "-db", "-f", str(path)]
        with contextlib.ExitStack() as stack:
            replicas = {
                name: stack.enter_context(FakeReplica(name, int(port)))
                for name, port in servers
                if name[-1] in running
            }
            if fallback:
                for port in re.findall(r"server SERVE_PROXY_ACTOR-node 127.0.0.1:(\d+)", text):
                    stack.enter_context(FakeReplica("proxy", int(port)))
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            ingress = Ingress(int(bind[1]), replicas)
            wait_for(lambda: _accepts(ingress.port), 30, "HAProxy")
            yield ingress

    return run


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
