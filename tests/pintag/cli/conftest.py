"""Run the command in this process, and a fake server with canned answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from pintag.cli import main


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


def run_and_print_slow_imports(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `pintag ARGUMENTS` in a process that prints which slow packages it has imported."""
    script = (
        "import sys; from pintag.cli import main; sys.argv = ['pintag', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print(*{'tensorflow', 'keras', 'ray', 'matplotlib'} & set(sys.modules))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True
    )


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Run `pintag ARGUMENTS`, with `stdin` if it is given; None: it is closed."""

    def run(*arguments: str | Path, stdin: bytes | None = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["pintag", *map(str, arguments)])
        stream = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
        monkeypatch.setattr(sys, "stdin", stream)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    # The command sets variables of its process.
    with patch.dict(os.environ):
        yield run


@dataclass(frozen=True)
class Answer:
    """A response of the fake server."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content).encode()


@dataclass
class Canned:
    """A fake server: it sends `answers` in order, repeats the last one, and records requests."""

    url: str
    answers: list[Answer]
    requests: list[tuple[str, dict[str, list[str]], bytes]] = field(default_factory=list)
    accepts: list[str] = field(default_factory=list)


def problem(status: int, title: str, detail: str, kind: str = "", **headers: str) -> Answer:
    """An RFC 9457 problem."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if kind:
        content["kind"] = kind
    return Answer(status, content, {"Content-Type": "application/problem+json", **headers})


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canned]:
    """A fake server on this machine; the test sets its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            address = urlsplit(self.path)
            result.requests.append((address.path, parse_qs(address.query), body))
            result.accepts.append(self.headers["Accept"])
            answer = result.answers[min(len(result.requests), len(result.answers)) - 1]
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    # This machine is reached without the proxy that a user may have.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        result = Canned(f"http://127.0.0.1:{server.server_port}", [])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield result
        server.shutdown()
        thread.join()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def explaining(canned: Canned) -> Canned:
    """A server that explains every image."""
    # Imported here: that module needs this one.
    from tests.pintag.cli.explanations import answer

    canned.answers = [Answer(content=answer())]
    return canned


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    """A grey picture, twice as wide as it is high."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (128, 64), (128, 128, 128)).save(path)
    return path
