"""Shared code of the servers on loopback: ports, certificates, and waiting for a start."""
from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import time
from collections.abc import Callable


class Failed(Exception):
    """A server does not start, or refuses a command."""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(('127.0.0.1', 0))
        return [s.getsockname()[1] for s in sockets]


def certify(run: Callable[..., object]) -> None:
    """Creates an authority, `ca.pem`, and a certificate for 127.0.0.1, `server.pem` with `server.key`, where `run` runs commands."""
    new = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30'
    leaf = '-CA ca.pem -CAkey ca.key -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE'
    for options in ('-subj /CN=authority -keyout ca.key -out ca.pem', f'-subj /CN=server -keyout server.key -out server.pem {leaf}'):
        run('openssl', *new.split(), *options.split())


def await_start(name: str, process: subprocess.Popen[bytes], log: pathlib.Path, is_ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f'{name} does not start:\n{log.read_text()[-3000:]}')
        time.sleep(0.05)
