#!/usr/bin/env python3
"""Proves that nothing protected is removed, and that what was reported as removed is gone, through kills of the server.

    tests/system/removal.py PATH_TO_THE_SERVER [--rounds N] [--directory DIR]
    tests/system/cluster/ceph.py -- tests/system/cluster/postgres.py -- tests/system/removal.py PATH_TO_THE_SERVER --shared

In each round, clients store files and replace protected ones, the operator removes files and erases an account, and retention removes what
is old, until the server is killed with SIGKILL at a random moment. Some files are held, and others are below the floor of the policy.
All clients also try to remove these. With `--shared`, two servers share a bucket and a PostgreSQL, and each kill hits one of them.

In the end, every protected file has its content, every file that was reported as removed is gone, every other acknowledged upload
is there, old files are gone, `files verify --repair` finds nothing but files that were not acknowledged, and `audit verify` no fault.
"""
from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import pathlib
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from rig import BROKEN, Client, Failed, Server, Thread, Upload, check, eventually, fact, media, options, run

POLICY = '''
[[retention]]
account = "OLD"
days = 7

[[retention]]
account = "FLOOR"
floor_days = 3650
'''
HELD, BELOW_FLOOR, OLD = 'HELD', 'FLOOR', 'OLD'
PROTECTED = (HELD, BELOW_FLOOR)
DAY = 86_400_000
# Removals that another server has begun count as interrupted after this time in PostgreSQL, in milliseconds.
INTERRUPTED = 400_000


class Api:
    """Calls the admin API on a Unix socket."""

    def __init__(self, path: str, token: str):
        self.path, self.token = path, token

    def call(self, method: str, target: str, body: Any = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection('localhost', timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self.path)
        headers = {'authorization': f'Bearer {pathlib.Path(self.token).read_text().strip()}', 'content-type': 'application/json'}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        return connection.getresponse()


class Ledger:
    """Changes the database while no server uses it, or beside servers in PostgreSQL."""

    def __init__(self, location: str):
        self.location = location

    def run(self, sql: str) -> None:
        if self.location.startswith('postgres'):
            command = ['psql', '--quiet', '--set', 'ON_ERROR_STOP=1', self.location, '--command', f'SET search_path = kazoo_storage; {sql}']
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        else:
            with contextlib.closing(sqlite3.connect(self.location)) as database:
                with database:
                    database.execute(sql)


    def rows(self, sql: str) -> list[Any]:
        if self.location.startswith('postgres'):
            command = ['psql', '--tuples-only', '--no-align', self.location, '--command', f'SET search_path = kazoo_storage; {sql}']
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            return [line for line in lines if line not in ('', 'SET')]
        with contextlib.closing(sqlite3.connect(self.location, timeout=30)) as database:
            return database.execute(sql).fetchall()


class Files:
    """The files as the clients know them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # The digests of the protected files.
        self.protected: dict[str, bytes] = {}
        # Uploads that were acknowledged, and that nobody has tried to remove.
        self.stored: dict[str, bytes] = {}
        self.removing: set[str] = set()
        self.removed: set[str] = set()
        self.old: set[str] = set()
        self.counts: collections.Counter[str] = collections.Counter()

    def add(self, key: str, content: bytes) -> None:
        with self.lock:
            if key.startswith('ERASED'):
                # An erasure that runs may find it.
                self.removing.add(key)
                return
            (self.protected if key.split('/')[0] in PROTECTED else self.stored)[key] = hashlib.sha256(content).digest()

    def take(self, account: str) -> str | None:
        """A file of the account that nobody has tried to remove. From now on it may be gone."""
        with self.lock:
            key = next((key for key in self.stored if key.startswith(f'{account}/')), None)
            if key:
                self.removing.add(key)
                del self.stored[key]
            return key

    def is_gone(self, key: str) -> None:
        check(key.split('/')[0] not in PROTECTED, f'{key} is protected, and was reported as removed')
        with self.lock:
            self.removed.add(key)

    def choose(self) -> str:
        with self.lock:
            return random.choice(list(self.protected))


class Site:
    """The servers and what they share."""

    def __init__(self, arguments: argparse.Namespace, directory: str):
        self.binary, self.directory = arguments.server, directory
        self.files = Files()
        self.turn_is_over = threading.Event()
        policy = pathlib.Path(directory, 'policy.toml')
        policy.write_text(POLICY)
        if arguments.shared:
            self.store = f'{os.environ["KAZOO_STORAGE_TEST_STORE"]}/removal'
            self.ledger = Ledger(os.environ['KAZOO_STORAGE_TEST_POSTGRES'])
            flags = ['--ledger', self.ledger.location]
        else:
            self.store = f'{directory}/root'
            self.ledger = Ledger(f'{self.store}/.ledger/files.sqlite')
            flags = []
        self.flags = [*flags, '--policy', str(policy)]
        self.servers: list[Server] = [self.start(number) for number in range(2 if arguments.shared else 1)]

    def start(self, number: int) -> Server:
        admin = f'{self.directory}/admin-{number}'
        return Server(self.binary, self.store, *self.flags, '--admin', f'unix:{admin}', '--admin-token-file', f'{self.directory}/token')

    def api(self, number: int) -> Api:
        return Api(f'{self.directory}/admin-{number}', f'{self.directory}/token')

    def command(self, *arguments: str) -> str:
        environment = os.environ | {'KAZOO_STORAGE_ADMIN': f'unix:{self.directory}/admin-0',
                                    'KAZOO_STORAGE_ADMIN_TOKEN_FILE': f'{self.directory}/token'}
        done = subprocess.run([self.binary, *arguments], env=environment, capture_output=True, text=True)
        check(done.returncode == 0, f'{" ".join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}')
        return done.stdout


@contextlib.contextmanager
def until_the_kill() -> Iterator[None]:
    with contextlib.suppress(*BROKEN):
        yield


def upload(site: Site, client: Client, key: str, size: int = 2000) -> bool:
    """Stores a file. Returns `True` if it is acknowledged."""
    content = media(f'{key} {time.monotonic_ns()}', size)
    number = f'+49{key.split("/")[0]}'
    reply = client.put(Upload(key, content, json.dumps({'from_number': number}), 'form-data'))
    check(reply.status in (201, 503), f'{key}: {reply.status} {reply.body!r}')
    if reply.status == 201 and key not in site.files.protected:
        site.files.add(key, content)
    return reply.status == 201


def store(site: Site, port: int, turn: int, name: int) -> None:
    """Stores files in all accounts, and uploads others over the protected files."""
    with until_the_kill(), Client(port) as client:
        for count in itertools.count():
            if site.turn_is_over.is_set():
                return
            for account in ('DELETED', f'ERASED-{turn}', OLD, 'KEPT'):
                upload(site, client, f'{account}/202611-{turn}-{name}-{count}/message.mp3')
            upload(site, client, site.files.choose())


def remove(site: Site, number: int) -> None:
    """Removes files of one account, and tries to remove protected ones."""
    api = site.api(number)
    with until_the_kill():
        while not site.turn_is_over.is_set():
            protected = site.files.choose()
            reply = api.call('DELETE', f'/v1/files/{urllib.parse.quote(protected, safe="")}')
            check(reply.status in (409, 503), f'{protected}: {reply.status} {reply.read()!r}')
            if key := site.files.take('DELETED'):
                reply = api.call('DELETE', f'/v1/files/{urllib.parse.quote(key, safe="")}')
                check(reply.status in (200, 503), f'{key}: {reply.status} {reply.read()!r}')
                if reply.status == 200:
                    site.files.is_gone(key)
                    site.files.counts['deleted'] += 1


def erase(site: Site, number: int, turn: int) -> None:
    """Erases the account of the turn, and tries to erase protected files."""
    api = site.api(number)
    with until_the_kill():
        while not site.turn_is_over.is_set():
            for subject in ({'account': f'ERASED-{turn}'}, {'number': f'+49{HELD}'}, {'account': BELOW_FLOOR}):
                reply = api.call('POST', '/v1/erasures', subject | {'confirm': True})
                if reply.status != 200:
                    # The ledger has not indexed the store yet.
                    check(reply.status in (409, 503), f'{subject}: {reply.status} {reply.read()!r}')
                    time.sleep(0.01)
                    continue
                for line in reply:
                    # A killed server leaves a partial line.
                    entry = json.loads(line) if line.endswith(b'\n') else {}
                    if entry.get('removed_at'):
                        site.files.is_gone(entry['key'])
                        site.files.counts['erased'] += 1


def play(site: Site, turn: int) -> None:
    """Works with the servers until one of them is killed, and starts it again."""
    victim = turn % len(site.servers)
    threads = []
    site.turn_is_over.clear()
    for number, server in enumerate(site.servers):
        threads += [Thread(store, site, server.port, turn, f'{number}{name}') for name in range(4)]
        threads += [Thread(remove, site, number), Thread(erase, site, number, turn)]
    time.sleep(random.uniform(0.05, 0.8))
    site.servers[victim].kill()
    if len(site.servers) > 1:
        # The other server goes on.
        time.sleep(random.uniform(0.05, 0.5))
    site.turn_is_over.set()
    for thread in threads:
        thread.join(60)
    # What was stored in this turn is old when the server starts again.
    site.ledger.run(f"UPDATE files SET stored_at = stored_at - {8 * DAY} WHERE account = '{OLD}'")
    site.ledger.run(f'UPDATE removals SET begun_at = begun_at - {INTERRUPTED}')
    with site.files.lock:
        site.files.old |= {key for key in site.files.stored if key.startswith(f'{OLD}/')}
        for key in site.files.old:
            site.files.stored.pop(key, None)
    site.servers[victim] = site.start(victim)


def examine(site: Site) -> None:
    files = site.files
    with site.servers[0].client() as client:
        for key, digest in files.protected.items():
            reply = client.get(key)
            check(reply.status == 200 and reply.digest == digest, f'{key} is protected: {reply.status}')
        for key, digest in files.stored.items():
            reply = client.get(key)
            check(reply.status == 200 and reply.digest == digest, f'{key} was acknowledged: {reply.status}')
        for key in files.removed:
            reply = client.get(key)
            check(reply.status == 404, f'{key} was reported as removed: {reply.status}')
        for key in sorted(files.old):
            eventually(f'{key} is old, and removed', lambda: client.get(key).status == 404, 120)
    eventually('no removal is left', lambda: not site.ledger.rows('SELECT key FROM removals'), 120)
    # A server that is killed between the store and the ledger leaves a file that it has not acknowledged.
    for line in site.command('files', 'verify', '--repair', '--json').splitlines():
        difference = json.loads(line)
        if key := difference.get('key'):
            check(difference['kind'] == 'unrecorded', f'{key}: {difference}')
            check(key not in files.protected and key not in files.stored, f'{key} was acknowledged, and is not in the ledger')
            check(key not in files.removed, f'{key} was reported as removed, and is in the store')
    site.command('files', 'verify')
    site.command('audit', 'verify')


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        site = Site(arguments, directory)
        with site.servers[0].client() as client:
            for account in PROTECTED:
                for count in range(20):
                    check(upload(site, client, f'{account}/202611-{count}/message.mp3'), 'the first uploads are refused')
        site.command('hold', 'add', '--account', HELD, '--reason', 'case 7', '--author', 'legal')
        for turn in range(arguments.rounds):
            play(site, turn)
            if turn % 10 == 9 or turn + 1 == arguments.rounds:
                examine(site)
        files = site.files
        fact(f'{arguments.rounds} rounds: {len(files.protected)} protected files unchanged; gone: {files.counts["deleted"]} deleted, '
             f'{files.counts["erased"]} erased and {len(files.old)} old files; {len(files.stored)} others are there')
        for server in site.servers:
            server.stop()


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--rounds', type=int, default=200, help='how often the server is killed (default: 200)')
    parser.add_argument('--shared', action='store_true', help='two servers with the bucket and the PostgreSQL of the environment')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, prepare)))
