#!/usr/bin/env python3
"""A PostgreSQL on loopback.

    python3 tests/system/cluster/postgres.py -- COMMAND...              runs COMMAND against it, and exits with its status
    python3 tests/system/cluster/postgres.py --killed 2 -- COMMAND...   the same, and kills and restarts it every 2 seconds

COMMAND receives the URL in KAZOO_STORAGE_TEST_POSTGRES, of a user that may create databases, and the authority of its certificate in
KAZOO_STORAGE_TEST_POSTGRES_CA; with `--killed`, the number of seconds in KAZOO_STORAGE_TEST_POSTGRES_KILLED too. Needs Debian's
postgresql and openssl. As root, it runs as the user `postgres` or `nobody`, because
PostgreSQL refuses root. Everything is in a temporary directory and on a free port, so several can run at once.
"""
from __future__ import annotations

import argparse
import contextlib
import glob
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from loopback import Failed, await_start, certify, free_ports

CONFIG = '''
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{directory}'
max_connections = 500
shared_buffers = 64MB
fsync = {fsync}
ssl = on
ssl_cert_file = '{directory}/server.pem'
ssl_key_file = '{directory}/server.key'
'''


class Postgres:
    """One server with the user `kazoo`, its password and its database. What it has committed survives `kill`."""

    def __init__(self, fsync: bool = False):
        # The page cache survives the process, so only a power failure needs `fsync`.
        self.fsync = fsync
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='kazoo-storage-postgres-'))
        self.password = secrets.token_hex(10)
        self.process: subprocess.Popen[bytes] | None = None
        self.user = unprivileged()
        (self.port,) = free_ports(1)
        self.url = f'postgres://kazoo:{self.password}@127.0.0.1:{self.port}/kazoo'

    def __enter__(self) -> Postgres:
        try:
            self._create()
            self.start()
            self._run('createdb', '--host', '127.0.0.1', '--port', str(self.port), '--username', 'kazoo', 'kazoo')
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with open(self.directory / 'log', 'ab') as log:
            command = [program('postgres'), '-D', str(self._data())]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        await_start('PostgreSQL', self.process, self.directory / 'log', self._is_ready, 60)

    def kill(self) -> None:
        """Ends every process of the server at once, as a power failure does, but the page cache stays."""
        if self.process is None or self.process.poll() is not None:
            return
        children = pathlib.Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text().split()
        self.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def query(self, sql: str) -> str:
        """The rows of `sql`, one a line."""
        return self._run('psql', '--no-psqlrc', '--tuples-only', '--no-align', '--command', sql, self.url).strip()

    def _create(self) -> None:
        password = self.directory / 'password'
        password.write_text(self.password)
        if self.user:
            for path in (self.directory, password):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        certify(self._run)
        self._run('initdb', '--pgdata', str(self._data()), '--username', 'kazoo', '--pwfile', str(password), '--auth', 'scram-sha-256',
                  '--encoding', 'UTF8', '--locale', 'C', '--no-sync')
        config = CONFIG.format(port=self.port, directory=self.directory, fsync='on' if self.fsync else 'off')
        with open(self._data() / 'postgresql.conf', 'a') as file:
            file.write(config)

    def _is_ready(self) -> bool:
        return subprocess.run([program('pg_isready'), '-q', '-h', '127.0.0.1', '-p', str(self.port)]).returncode == 0

    def _data(self) -> pathlib.Path:
        return self.directory / 'data'

    def _run(self, name: str, *arguments: str) -> str:
        environment = os.environ | {'PGPASSWORD': self.password}
        done = subprocess.run([program(name), *arguments], env=environment, capture_output=True, text=True, **self._as_user())
        if done.returncode:
            raise Failed(f'{name}: {done.stderr or done.stdout}')
        return done.stdout

    def _as_user(self) -> dict[str, object]:
        options: dict[str, object] = {'cwd': self.directory, 'start_new_session': True}
        if self.user:
            options |= {'user': self.user.pw_uid, 'group': self.user.pw_gid, 'extra_groups': []}
        return options


def unprivileged() -> pwd.struct_passwd | None:
    """The user that the server runs as, or `None` for the present one."""
    if os.geteuid():
        return None
    for name in ('postgres', 'nobody'):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise Failed('PostgreSQL refuses root, and there is no user `postgres` or `nobody`')


def program(name: str) -> str:
    """The path of a program of PostgreSQL. Debian has the newest version last, and not on the PATH."""
    debian = sorted(glob.glob(f'/usr/lib/postgresql/*/bin/{name}'), key=lambda path: int(path.split('/')[4].split('.')[0]))
    found = debian[-1] if debian else shutil.which(name)
    if not found:
        raise Failed(f'there is no `{name}`: install the packages `postgresql` and `openssl`')
    return found


def keep_killing(server: Postgres, seconds: float, stop: threading.Event) -> None:
    while not stop.wait(seconds):
        server.kill()
        stop.wait(seconds / 4)
        server.start()


def main() -> int:
    parser = argparse.ArgumentParser(usage='postgres.py [--killed SECONDS] -- COMMAND...')
    parser.add_argument('--killed', type=float, metavar='SECONDS', help='kill and restart it in this interval')
    parser.add_argument('command', nargs='+')
    options = parser.parse_args()
    # Exits through `with`, which stops the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Postgres() as server:
        authority = server.directory / 'ca.pem'
        environment = os.environ | {'KAZOO_STORAGE_TEST_POSTGRES': server.url, 'KAZOO_STORAGE_TEST_POSTGRES_CA': str(authority)}
        if not options.killed:
            return subprocess.run(options.command, env=environment).returncode
        environment['KAZOO_STORAGE_TEST_POSTGRES_KILLED'] = str(options.killed)
        stop = threading.Event()
        killer = threading.Thread(target=keep_killing, args=(server, options.killed, stop))
        killer.start()
        try:
            return subprocess.run(options.command, env=environment).returncode
        finally:
            stop.set()
            killer.join()


if __name__ == '__main__':
    sys.exit(main())
