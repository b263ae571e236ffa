#!/usr/bin/env python3
"""Two servers on one bucket and one PostgreSQL, with the same webhook, which both deliver to:

- while both run, each event is delivered once, by one of them;
- one of them is killed with events in flight: the other delivers these too, after their claims have ended;
- PostgreSQL is killed and restarted during uploads: they are answered with 503 meanwhile, and fetches are served.

Each acknowledged upload is delivered, and the events of each file come in order, although its uploads alternate between the servers.

    python3 tests/system/cluster/two_servers.py PATH_TO_THE_SERVER        a minute, needs postgresql and openssl
"""
from __future__ import annotations

import collections
import contextlib
import hashlib
import http.client
import http.server
import itertools
import json
import pathlib
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ceph import Cluster
from postgres import Postgres
from server import Client, Server, check, fact, run

SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
CLIENTS = 8
UPLOADS = 100
# Time limit of the servers for an answer, and the time until an event that a dead server has claimed is due again, in seconds.
TIMEOUT = 3
CLAIM = 2 * TIMEOUT + 10
# Time that an answer takes while one of the servers is killed, in seconds.
SLOW = 0.3
KILLS_OF_POSTGRES = 3


class Delivery(NamedTuple):
    server: int
    at: float


class Receiver:
    """Accepts what running servers send."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.servers: dict[int, Server] = {}
        # Time until it answers, in seconds.
        self.delay = 0.0
        # The number of each upload of a file, by its digest; set before it is sent.
        self.sent: dict[str, dict[str, int]] = collections.defaultdict(dict)
        self.latest: dict[str, int] = {}
        self.deliveries: dict[str, list[Delivery]] = collections.defaultdict(list)
        # Events without an answer yet, by the server that has sent them.
        self.in_flight: dict[int, set[str]] = collections.defaultdict(set)
        self.accepted: set[tuple[str, str]] = set()
        self.failure: Exception | None = None
        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (Handler,), {'receiver': self}), False)
        self.http.request_queue_size = 256
        self.http.server_bind()
        self.http.server_activate()
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def sender(self, port: int) -> int | None:
        """The number of the server whose connection has this port, or `None` if it was killed."""
        for line in pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]:
            _, local, remote, *_ = fields = line.split()
            if local.endswith(f':{port:04X}') and remote.endswith(f':{self.port:04X}'):
                servers = list(self.servers.items())
                return next((number for number, server in servers if has_socket(server.process.pid, fields[9])), None)
        return None

    def receive(self, server: int, event: dict) -> bool:
        """Waits, and returns `True` if the event is accepted."""
        data = event['data']
        key, digest = data['key'], data['sha256']
        with self.lock:
            check(digest in self.sent[key], f'{key}: an event with a digest that nobody has sent')
            n = self.sent[key][digest]
            check(n >= self.latest.get(key, 0), f'{key}: the event of upload {n} after that of {self.latest.get(key)}')
            self.latest[key] = n
            self.deliveries[event['id']].append(Delivery(server, time.monotonic()))
            self.in_flight[server].add(event['id'])
        time.sleep(self.delay)
        with self.lock:
            # A killed server would not get the answer.
            accepts = server in self.servers
            self.in_flight[server].discard(event['id'])
            if accepts:
                self.accepted.add((key, digest))
        return accepts

    def counts(self) -> collections.Counter[int]:
        """The number of deliveries of each server."""
        with self.lock:
            return collections.Counter(delivery.server for deliveries in self.deliveries.values() for delivery in deliveries)

    def repeated(self) -> list[str]:
        with self.lock:
            return [event for event, deliveries in self.deliveries.items() if len(deliveries) > 1]


class Handler(http.server.BaseHTTPRequestHandler):
    receiver: Receiver
    protocol_version = 'HTTP/1.1'
    server_number: int | None = None

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(int(self.headers['content-length']))
            if self.server_number is None:
                self.server_number = self.receiver.sender(self.client_address[1])
            accepts = self.server_number is not None and self.receiver.receive(self.server_number, json.loads(body))
        except OSError:
            # The server was killed.
            self.close_connection = True
            return
        except Exception as failure:
            self.receiver.failure = self.receiver.failure or failure
            accepts = False
        if not accepts:
            self.close_connection = True
            return
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()


class Uploader:
    """Stores new files and replaces one, alternately at each server. What is not acknowledged is sent again to the next."""

    def __init__(self, name: int, receiver: Receiver):
        self.name, self.receiver = name, receiver
        self.key = f'ACC{name % 3}/202611-replaced-{name}/message.mp3'
        self.count = 0
        self.acknowledged: set[tuple[str, str]] = set()
        self.statuses: collections.Counter[object] = collections.Counter()

    def work(self, clients: list[Client], goes_on: Callable[[int], bool]) -> None:
        turns = itertools.cycle(clients)
        for done in itertools.count():
            if not goes_on(done):
                return
            self.count += 1
            key = self.key if self.count % 3 == 0 else f'ACC{self.name % 3}/202611-{self.name}-{self.count}/message.mp3'
            content = random.Random(f'{self.name} {self.count}').randbytes(self.count * 7919 % 20_000 + 1)
            digest = hashlib.sha256(content).hexdigest()
            with self.receiver.lock:
                self.receiver.sent[key][digest] = self.count
            deadline = time.monotonic() + 60
            while (status := self.put(next(turns), key, content)) != 201:
                check(time.monotonic() < deadline, f'{key}: not stored within a minute, at last {status}')
                time.sleep(0.1)
            self.acknowledged.add((key, digest))

    def put(self, client: Client, key: str, content: bytes) -> int | None:
        """Returns the status, or `None` if the server is killed."""
        try:
            reply = client.put(key, content, json.dumps({'id': key.split('/')[1], 'number': self.count}) if self.count % 2 else None)
        except (OSError, http.client.HTTPException):
            self.statuses[None] += 1
            return None
        self.statuses[reply.status] += 1
        if reply.status != 201:
            check(reply.status == 503 and b'ledger' in reply.body and reply.headers['retry-after'],
                  f'{key}: {reply.status} {reply.body!r}')
        return reply.status


class Site:
    """The servers, the receiver and the clients."""

    def __init__(self, stack: contextlib.ExitStack, binary: str):
        self.stack, self.binary = stack, binary
        self.cluster = stack.enter_context(Cluster('memstore'))
        self.postgres = stack.enter_context(Postgres())
        self.receiver = Receiver()
        self.deliveries = self.cluster.directory / 'deliveries.json'
        webhook = {'url': f'http://127.0.0.1:{self.receiver.port}/', 'secret': SECRET, 'timeout': f'{TIMEOUT}s'}
        self.deliveries.write_text(json.dumps({'webhooks': [webhook]}))
        self.clients: dict[int, Client] = {}
        self.uploaders = [Uploader(name, self.receiver) for name in range(CLIENTS)]

    def start(self, number: int) -> None:
        flags = ('--ledger', self.postgres.url, '--deliveries', str(self.deliveries))
        server = self.stack.enter_context(Server(self.binary, self.cluster, *flags, log='error'))
        self.receiver.servers[number] = server
        self.clients[number] = Client(server.address)

    def kill(self, number: int) -> set[str]:
        """Returns the events that the server has in flight."""
        with self.receiver.lock:
            self.receiver.servers.pop(number).kill()
            return set(self.receiver.in_flight[number])

    def upload(self, pool: ThreadPoolExecutor, goes_on: Callable[[int], bool]) -> Callable[[], None]:
        """Starts the uploaders. The function returned waits for them."""
        ends = [pool.submit(uploader.work, list(self.clients.values()), goes_on) for uploader in self.uploaders]
        return lambda: [end.result() for end in ends] and None

    def drain(self) -> float:
        """Waits until each acknowledged upload is delivered, and the ledger has no event left. Returns the duration."""
        begun = time.monotonic()
        expected = set().union(*(uploader.acknowledged for uploader in self.uploaders))
        while expected - self.receiver.accepted or self.postgres.query('SELECT count(*) FROM kazoo_storage.outbox') != '0':
            if self.receiver.failure:
                raise self.receiver.failure
            check(time.monotonic() - begun < 3 * CLAIM, f'{len(expected - self.receiver.accepted)} uploads are not delivered')
            time.sleep(0.1)
        return time.monotonic() - begun

    @property
    def acknowledged(self) -> int:
        return sum(len(uploader.acknowledged) for uploader in self.uploaders)


def has_socket(pid: int, inode: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in pathlib.Path(f'/proc/{pid}/fd').iterdir():
            with contextlib.suppress(OSError):
                if descriptor.readlink() == pathlib.Path(f'socket:[{inode}]'):
                    return True
    return False


def both_run(site: Site, pool: ThreadPoolExecutor) -> None:
    site.upload(pool, lambda done: done < UPLOADS)()
    site.drain()
    repeated, counts = site.receiver.repeated(), site.receiver.counts()
    check(not repeated, f'{len(repeated)} events were delivered more than once, such as {repeated[:1]}')
    check(len(counts) == 2, f'only one of the servers delivered: {counts}')
    fact(f'both servers run: {site.acknowledged} uploads delivered once each, {counts[0]} by one server and {counts[1]} by the other')


def one_dies(site: Site, pool: ThreadPoolExecutor) -> None:
    receiver, before = site.receiver, site.acknowledged
    receiver.delay, uploaded = SLOW, site.upload(pool, lambda done: done < UPLOADS)
    deadline = time.monotonic() + 60
    while len(receiver.in_flight[0]) < 5 or site.acknowledged < before + CLIENTS * UPLOADS // 3:
        check(time.monotonic() < deadline, 'the server to be killed never had five events in flight')
        time.sleep(0.01)
    check(not receiver.repeated(), 'events were delivered again before the kill')
    orphans, killed, at_kill = site.kill(0), time.monotonic(), site.acknowledged
    uploaded()
    receiver.delay = 0
    site.drain()
    took = time.monotonic() - killed
    # The server may also be killed after an answer and before it has recorded it.
    again = orphans | set(receiver.repeated())
    for event in again:
        first, *rest = receiver.deliveries[event]
        check(first.server == 0 and [delivery.server for delivery in rest] == [1], f'{event} was delivered by {first} and {rest}')
        waited = rest[0].at - first.at
        check(CLAIM - 2 * TIMEOUT < waited < CLAIM + 15, f'{event} was delivered again after {waited:.1f} s')
        check(first.at > killed - TIMEOUT, f'{event} was delivered again, although it was not in flight')
    fact(f'one killed: {at_kill - before} uploads acknowledged before, and {site.acknowledged - at_kill} after; the other delivered all, '
         f'within {took:.0f} s also the {len(orphans)} in flight, and {len(again - orphans)} again')


def postgres_dies(site: Site, pool: ThreadPoolExecutor) -> None:
    site.start(0)
    before, repeated, stop = site.acknowledged, len(site.receiver.repeated()), threading.Event()
    uploaded, fetched = site.upload(pool, lambda _: not stop.is_set()), 0
    try:
        for _ in range(KILLS_OF_POSTGRES):
            time.sleep(1)
            site.postgres.kill()
            time.sleep(0.7)
            for client in site.clients.values():
                check(client.get(site.uploaders[0].key).status == 200, 'a fetch failed without PostgreSQL')
                fetched += 1
            site.postgres.start()
        time.sleep(1)
    finally:
        stop.set()
    uploaded()
    took = site.drain()
    refused = sum(uploader.statuses[503] for uploader in site.uploaders)
    check(refused >= KILLS_OF_POSTGRES, f'{refused} uploads were answered with 503')
    fact(f'PostgreSQL killed {KILLS_OF_POSTGRES} times: {refused} uploads answered with 503, {fetched} fetches served, '
         f'{site.acknowledged - before} uploads acknowledged, all delivered after {took:.0f} s, '
         f'{len(site.receiver.repeated()) - repeated} of them again')


def main(binary: str) -> None:
    with contextlib.ExitStack() as stack:
        site = Site(stack, binary)
        site.start(0)
        site.start(1)
        with ThreadPoolExecutor(CLIENTS) as pool:
            both_run(site, pool)
            one_dies(site, pool)
            postgres_dies(site, pool)
        for uploader in site.uploaders:
            reply = site.clients[1].get(uploader.key)
            n = site.receiver.sent[uploader.key].get(hashlib.sha256(reply.body).hexdigest())
            check(n == site.receiver.latest[uploader.key], f'{uploader.key} has upload {n}, but its last event is that of another')


if __name__ == '__main__':
    sys.exit(run(main, sys.argv[1:], __doc__))
