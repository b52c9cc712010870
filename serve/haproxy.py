"""HAProxy, watched: killed, it is back at once, and no connection is refused in the meantime.

`haproxy.sh` starts this in HAProxy's place. It is the process that Ray starts, questions, signals
and kills, and HAProxy is its child. It holds the socket that clients connect to: connections wait
there while there is no HAProxy, and each start takes the socket over from the one before it.

Run by its path with nothing but Python's own modules, as it must start quickly.
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

# Without its manager HAProxy goes on for so many seconds: Ray starts another manager, and the
# HAProxy of that one takes over. Without its raylet it ends.
GRACE = 60.0
# A HAProxy that dies again and again is started once in so many seconds.
PAUSE = 1.0
_PATIENCE = 5.0
# The variable that tells HAProxy the number of its socket.
_LISTENER = "PINTAG_LISTENER"
_HAND_OVER = b"hand over the listener\n"
_ENDING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_FORWARDED = (*_ENDING, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Config:
    """Ray's configuration of HAProxy, and the two addresses in it that are not left to HAProxy."""

    text: str
    bind: str
    """Where clients connect."""
    admin: str
    """Where Ray asks."""

    @classmethod
    def of(cls, text: str) -> Config:
        """Raises: ValueError: it is not as Ray writes it."""
        bind = re.search(r"^frontend http_frontend\n {4}bind (\S*:\d+)$", text, re.M)
        admin = re.search(r"^ {4}stats socket (\S+) ", text, re.M)
        if not bind or not admin:
            raise ValueError("Ray's configuration of HAProxy has no `bind` or no `stats socket`")
        return cls(text, bind[1], admin[1])

    @property
    def own(self) -> str:
        """Where HAProxy itself answers."""
        return f"{self.admin}.own"

    def watched(self) -> str:
        """For a HAProxy that is given its socket, and is asked by its watch alone."""
        return self.text.replace(
            f"frontend http_frontend\n    bind {self.bind}\n",
            f'frontend http_frontend\n    bind "fd@${{{_LISTENER}}}"\n',
        ).replace(f"    stats socket {self.admin} ", f"    stats socket {self.own} ")


class Watch:
    """One HAProxy, from its start to its end, however often it is killed."""

    def __init__(self, command: list[str]) -> None:
        """Nothing is started yet; `command` is HAProxy's as Ray would have it."""
        path = Path(command[command.index("-f") + 1])
        config = Config.of(path.read_text())
        self._listener, before = _listener(config, shared="-dR" not in command)
        kept = path.with_name(f"{path.name}.watched")
        if "-sf" in command or not kept.exists():
            new = kept.with_name(f"{kept.name}.{os.getpid()}")
            new.write_text(config.watched())
            # At once: the one before may start its HAProxy again at this moment.
            new.replace(kept)
        # Else its manager is new and knows no application: it goes on with what the last one knew.
        elif before:
            command = [*command, "-sf", str(before), "-x", config.admin]
        ours = {str(path): str(kept), config.admin: config.own}
        command = [ours.get(word, word) for word in command]
        cut = command.index("-sf") if "-sf" in command else len(command)
        self._command, self._succeeding = command[:cut], command[cut:]
        self._admin, self._own = config.admin, config.own
        self._manager = os.getppid()
        self._raylet = _parent(self._manager)
        self._alone_since: float | None = None
        self._leaving = False

    def run(self) -> int:
        """Until HAProxy has ended as it was told to, or does not start; its exit code."""
        # A manager that is killed takes its process group along.
        os.setsid()
        if self._start(*self._succeeding):
            with _answering(self._admin) as questions:
                while self._goes_on():
                    # HAProxy's end ends the pulse.
                    ready, _, _ = select.select([questions.fileno(), self._pulse], [], [], 1.0)
                    if questions.fileno() in ready:
                        self._answer(questions)
        return self._haproxy.wait()

    def _start(self, *succeeding: str) -> bool:
        """Whether it runs, and answers."""
        self._started = time.monotonic()
        given = self._listener.fileno()
        self._pulse, held = os.pipe()
        self._haproxy = subprocess.Popen(  # noqa: S603
            [*self._command, *succeeding],
            env=os.environ | {_LISTENER: str(given)},
            pass_fds=[given, held],
            preexec_fn=_tied(os.getpid()),
        )
        os.close(held)
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        while self._haproxy.poll() is None:
            if self._its_pid() in self._ask(b"show info\n"):
                return True
            time.sleep(0.01)
        return False

    def _forward(self, number: int, _: FrameType | None = None) -> None:
        if number in _ENDING:
            self._leaving = True
            # Held, it would keep connections waiting for nobody.
            self._listener.close()
        self._haproxy.send_signal(number)

    def _goes_on(self) -> bool:
        if os.getppid() != self._manager:
            self._alone_since = self._alone_since or time.monotonic()
            if _parent(self._raylet) is None:
                self._forward(signal.SIGTERM)
            elif not self._leaving and time.monotonic() > self._alone_since + GRACE:
                self._forward(signal.SIGUSR1)
        return self._haproxy.poll() is None or (not self._leaving and self._start_again())

    def _start_again(self) -> bool:
        print(f"HAProxy ended by itself ({self._haproxy.returncode})", file=sys.stderr, flush=True)
        os.close(self._pulse)
        time.sleep(max(0.0, self._started + PAUSE - time.monotonic()))
        # One that cannot start says so by its exit code; Ray sees to it then.
        return not self._leaving and (self._start() or self._haproxy.returncode < 0)

    def _answer(self, questions: socket.socket) -> None:
        """One question of Ray's, or of the watch that succeeds this one."""
        with contextlib.suppress(OSError), questions.accept()[0] as line:
            line.settimeout(_PATIENCE)
            question = line.makefile("rb").readline()
            if question == _HAND_OVER:
                socket.send_fds(line, [b"\n"], [self._listener.fileno()])
            else:
                # By this number Ray knows whether it is the process it started that answers.
                ours = b"\nPid: %d\n" % os.getpid()
                line.sendall(self._ask(question).replace(self._its_pid(), ours))

    def _ask(self, question: bytes) -> bytes:
        """HAProxy's answer; empty where it has none."""
        with contextlib.suppress(OSError), _connected(self._own) as line:
            line.sendall(question)
            return b"".join(iter(lambda: line.recv(1 << 16), b""))
        return b""

    def _its_pid(self) -> bytes:
        return b"\nPid: %d\n" % self._haproxy.pid


def _tied(parent: int) -> Callable[[], None]:
    """Run in a child, so that it ends with its parent, however that ends."""

    def tie() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return tie


def _listener(config: Config, *, shared: bool) -> tuple[socket.socket, int | None]:
    """The socket that clients connect to, and the watch that it is taken over from, if any."""
    host, _, port = config.bind.rpartition(":")
    family, kind, _, _, address = socket.getaddrinfo(
        host.strip("*") or "0.0.0.0",  # noqa: S104
        int(port),
        type=socket.SOCK_STREAM,
    )[0]
    if found := _handed_over(config.admin, address):
        return found
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
    try:
        made.bind(address)
    except OSError as error:
        sys.exit(f"HAProxy cannot listen on {config.bind}: {error.strerror}")
    return made, None


def _handed_over(admin: str, address: tuple[object, ...]) -> tuple[socket.socket, int] | None:
    with contextlib.suppress(OSError), _connected(admin) as line:
        line.sendall(_HAND_OVER)
        _, numbers, _, _ = socket.recv_fds(line, 1, 1)
        if numbers and (found := socket.socket(fileno=numbers[0])).getsockname() == address:
            credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return found, struct.unpack("3i", credentials)[0]
    return None


@contextlib.contextmanager
def _connected(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE)
        line.connect(path)
        yield line


@contextlib.contextmanager
def _answering(path: str) -> Iterator[socket.socket]:
    """A socket in the place of that of whoever answered before."""
    new = f"{path}.{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(new)
        made.listen()
        Path(new).replace(path)
        yield made


def _parent(pid: int | None) -> int | None:
    """None where there is no such process, or nothing left of it but its exit code."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)


def main() -> int:
    """Run by haproxy.sh with HAProxy's program and arguments."""
    code = Watch(sys.argv[1:]).run()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
