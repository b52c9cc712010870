"""A supervisor of HAProxy: a killed HAProxy is started again at once, and no connection is refused.

Ray starts this process instead of HAProxy, sends it signals and requests, and kills it; HAProxy is
its child. It holds the socket that clients connect to: connections wait there while no HAProxy
runs. For a reload Ray starts another supervisor, which takes the socket over from the old one.

Standard library only: see main.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from . import files

# Seconds for which HAProxy still runs after its manager has died: Ray starts another manager, whose
# HAProxy takes over. If the raylet has died as well, HAProxy ends at once.
GRACE = 60.0
# The shortest time in seconds between two starts of HAProxy, if it dies again and again.
PAUSE = 1.0
_SOCKET_TIMEOUT_S = 5.0
# The variable that has the file descriptor of HAProxy's socket.
_LISTENER = "PINTAG_LISTENER"
_HAND_OVER = b"hand over the listener\n"
_ENDING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_FORWARDED = (*_ENDING, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class HaproxyConfig:
    """Ray's configuration of HAProxy, and the two addresses in it that the supervisor uses."""

    text: str
    bind: str
    """Where clients connect."""
    admin: str
    """The admin socket, on which Ray sends commands such as `show info`."""

    @classmethod
    def of(cls, text: str) -> HaproxyConfig:
        """Find both addresses in a configuration.

        Raises:
            ValueError: one of them is missing.
        """
        bind = re.search(r"^frontend http_frontend\n {4}bind (\S*:\d+)$", text, re.M)
        admin = re.search(r"^ {4}stats socket (\S+) ", text, re.M)
        if not bind or not admin:
            raise ValueError("Ray's configuration of HAProxy has no `bind` or no `stats socket`")
        return cls(text, bind[1], admin[1])

    @property
    def private_admin(self) -> str:
        """The admin socket of HAProxy itself."""
        return f"{self.admin}.own"

    def supervised(self) -> str:
        """The text for a HAProxy that inherits its socket, and has a private admin socket.

        It gets a connection when the first data has arrived, or after a second: at a reload HAProxy
        closes those that it has and that wait for their first request.
        """
        return self.text.replace(
            f"frontend http_frontend\n    bind {self.bind}\n",
            f'frontend http_frontend\n    bind "fd@${{{_LISTENER}}}" defer-accept\n',
        ).replace(f"    stats socket {self.admin} ", f"    stats socket {self.private_admin} ")


class Supervisor:
    """Runs one HAProxy, and starts it again whenever it is killed."""

    def __init__(self, command: list[str]) -> None:
        """Take over the socket and write HAProxy's configuration. `run` starts HAProxy.

        Args:
            command: HAProxy and its arguments, as Ray gives them.

        Raises:
            ValueError: the configuration has no `bind` or no `stats socket`.
        """
        path = Path(command[command.index("-f") + 1])
        config = HaproxyConfig.of(path.read_text(encoding="utf-8"))
        self._listener, old_supervisor = _listener(config, shared="-dR" not in command)
        supervised = path.with_name(f"{path.name}.watched")
        if "-sf" in command or not supervised.exists():
            # In one step: the old supervisor may start its HAProxy again at this moment.
            files.write(supervised, config.supervised())
        # Else Ray's manager is new and knows no application yet: the last configuration is kept.
        elif old_supervisor:
            command = [*command, "-sf", str(old_supervisor), "-x", config.admin]
        renamed = {str(path): str(supervised), config.admin: config.private_admin}
        command = [renamed.get(word, word) for word in command]
        cut = command.index("-sf") if "-sf" in command else len(command)
        # From -sf on the arguments let HAProxy take over from an old one, at its first start only.
        self._command, self._takeover = command[:cut], command[cut:]
        self._admin, self._private_admin = config.admin, config.private_admin
        self._manager = os.getppid()
        self._raylet = _parent(self._manager)
        self._orphaned_since: float | None = None
        self._ending = False

    def run(self) -> int:
        """Supervise until HAProxy has ended on request, or does not start; return its exit code."""
        # When the manager is killed, all processes of its group are killed. Leave the group.
        os.setsid()
        if self._start(*self._takeover):
            with _admin_socket(self._admin) as admin:
                while self._is_needed():
                    # HAProxy holds the other end of the pipe, so `select` returns when it ends.
                    ready, _, _ = select.select([admin.fileno(), self._pipe], [], [], 1.0)
                    if admin.fileno() in ready:
                        self._answer(admin)
        return self._haproxy.wait()

    def _start(self, *takeover: str) -> bool:
        """Start HAProxy, and return whether it runs and answers."""
        self._started = time.monotonic()
        listener = self._listener.fileno()
        self._pipe, write_end = os.pipe()
        self._haproxy = subprocess.Popen(  # noqa: S603
            [*self._command, *takeover],
            env=os.environ | {_LISTENER: str(listener)},
            pass_fds=[listener, write_end],
            preexec_fn=_die_with(os.getpid()),
        )
        os.close(write_end)
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        while self._haproxy.poll() is None:
            if self._pid_line() in self._request(b"show info\n"):
                return True
            time.sleep(0.01)
        return False

    def _forward(self, number: int, _: FrameType | None = None) -> None:
        """Send a signal on to HAProxy."""
        if number in _ENDING:
            self._ending = True
            # If it stayed open, connections would wait in it, and no process would accept them.
            self._listener.close()
        self._haproxy.send_signal(number)

    def _is_needed(self) -> bool:
        """Whether to go on. Starts a HAProxy that died again; ends it if Ray's processes died."""
        if os.getppid() != self._manager:
            self._orphaned_since = self._orphaned_since or time.monotonic()
            if _parent(self._raylet) is None:
                self._forward(signal.SIGTERM)
            elif not self._ending and time.monotonic() > self._orphaned_since + GRACE:
                self._forward(signal.SIGUSR1)
        return self._haproxy.poll() is None or (not self._ending and self._start_again())

    def _start_again(self) -> bool:
        code = self._haproxy.returncode
        print(f"HAProxy ended with exit code {code}, restarting it", file=sys.stderr, flush=True)
        os.close(self._pipe)
        time.sleep(max(0.0, self._started + PAUSE - time.monotonic()))
        # A HAProxy that cannot start returns an exit code, which `run` returns to Ray. A negative
        # code means that a signal killed it, so it is started again.
        return not self._ending and (self._start() or self._haproxy.returncode < 0)

    def _answer(self, admin: socket.socket) -> None:
        """Answer one request from Ray, or from the supervisor that takes over."""
        with contextlib.suppress(OSError), admin.accept()[0] as connection:
            connection.settimeout(_SOCKET_TIMEOUT_S)
            request = connection.makefile("rb").readline()
            if request == _HAND_OVER:
                socket.send_fds(connection, [b"\n"], [self._listener.fileno()])
            else:
                # Ray checks that this is the process id of the program that it started.
                own_pid = b"\nPid: %d\n" % os.getpid()
                connection.sendall(self._request(request).replace(self._pid_line(), own_pid))

    def _request(self, request: bytes) -> bytes:
        """HAProxy's answer to an admin command; empty if it does not answer."""
        with contextlib.suppress(OSError), _connected(self._private_admin) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return b""

    def _pid_line(self) -> bytes:
        return b"\nPid: %d\n" % self._haproxy.pid


def _die_with(parent: int) -> Callable[[], None]:
    """A function to call in a child process, so that it is killed when its parent ends."""

    def bind_to_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind_to_parent


def _listener(config: HaproxyConfig, *, shared: bool) -> tuple[socket.socket, int | None]:
    """The socket that clients connect to, and the process id of the old supervisor, if any."""
    host, _, port = config.bind.rpartition(":")
    family, kind, _, _, address = socket.getaddrinfo(
        host.strip("*") or "0.0.0.0",  # noqa: S104
        int(port),
        type=socket.SOCK_STREAM,
    )[0]
    if taken_over := _take_over(config.admin, address):
        return taken_over
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
    try:
        listener.bind(address)
    except OSError as error:
        sys.exit(f"HAProxy cannot listen on {config.bind}: {error.strerror}")
    return listener, None


def _take_over(admin: str, address: tuple[object, ...]) -> tuple[socket.socket, int] | None:
    """The socket and process id of the old supervisor; None if none listens on `address`."""
    with contextlib.suppress(OSError), _connected(admin) as connection:
        connection.sendall(_HAND_OVER)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
        if not descriptors:
            return None
        listener = socket.socket(fileno=descriptors[0])
        if listener.getsockname() == address:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return listener, struct.unpack("3i", credentials)[0]
    return None


@contextlib.contextmanager
def _connected(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SOCKET_TIMEOUT_S)
        connection.connect(path)
        yield connection


@contextlib.contextmanager
def _admin_socket(path: str) -> Iterator[socket.socket]:
    """A listening socket at `path`; it replaces the socket of an old supervisor."""
    new = f"{path}.{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(new)
        listener.listen()
        Path(new).replace(path)
        yield listener


def _parent(pid: int | None) -> int | None:
    """The id of a process's parent; None if the process does not exist, or is a zombie."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)
