#!/usr/bin/env python3
"""Mixed traffic of every dialect from 64 clients to a server that is killed and restarted every minute.

    tests/system/soak.py PATH_TO_THE_SERVER [--minutes N | --quick] [--directory DIR]

The clients upload like KAZOO's releases: raw, multipart with and without a boundary parameter, with and without base64, new files and
replacements, from 0 to 5 MiB. They abort one upload in a hundred, fetch stored files by their
path and by the doubled path with a query, and send probes. The server is killed with SIGKILL and restarted on the same root.

At the end, each acknowledged upload is read back and compared, with its metadata, and each aborted one is absent. The
memory, descriptors and threads of late server processes equal those of early ones. 30 minutes need about 6 GB.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from typing import NamedTuple

from rig import (BROKEN, MEDIA_TYPES, Client, Kept, Reply, Server, Thread, Upload, check, fact, fetched, media, number, numbered, options,
                 run, staged, stored)

CLIENTS = 64
# The rate of all clients together, limited by the space on the disk for half an hour of uploads.
UPLOADS_PER_SECOND = 50
# Sizes of new files, with their weights.
SIZES = {(0, 0): 3, (6, 2_000): 40, (2_000, 64 << 10): 48, (64 << 10, 512 << 10): 8.4, (1 << 20, 5 << 20): 0.6}
REPLACED_SIZES = [10, 2_000, (64 << 10) + 7, 150_000]
# Releases of KAZOO by their uploads: the form, whether a junk header repeats the media type, and whether the media is encoded.
DIALECTS = [('raw', True, False), ('raw', False, False), ('mixed', True, False), ('form-data', True, False), ('form-data', True, True),
            ('form-data', False, False), ('form-data', False, True)]


class Replaced:
    """A file that one client keeps replacing, and that all clients fetch."""

    def __init__(self, path: str):
        self.path = path
        self.count = 0
        # The possible contents: the last acknowledged one, and later ones without an acknowledgement. `None` is no content.
        self.allowed: list[int | None] = [None]


class World:
    """State shared by the clients."""

    def __init__(self) -> None:
        self.port = 0
        self.over = threading.Event()
        self.replaced = [Replaced(f'{n % 8:032x}/202611-replaced-{n}/greeting.mp3') for n in range(2 * CLIENTS)]
        self.lock = threading.Lock()
        self.counts: dict[str, int] = {}

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1



class Soaker:
    """One client, and the expected state of its uploads."""

    def __init__(self, world: World, n: int):
        self.world, self.n, self.random = world, n, random.Random(n)
        self.kept: dict[str, Kept] = {}
        # Uploads whose answer was lost: absent or complete.
        self.unknown: dict[str, Kept] = {}
        self.broken_off: list[str] = []
        self.count = 0
        self.client = Client(0)
        self.own = world.replaced[2 * n:2 * n + 2]
        self.thread = Thread(self.work)

    def work(self) -> None:
        acts = {self.upload: 80, self.replace: 15, self.fetch: 40, self.fetch_replaced: 15, self.probe: 4}
        while not self.world.over.is_set():
            self.world.over.wait(self.random.expovariate(UPLOADS_PER_SECOND / CLIENTS * sum(acts.values()) / 95))
            act, = self.random.choices(list(acts), list(acts.values()))
            try:
                if self.client.port != self.world.port:
                    self.client.close()
                    self.client.port = self.world.port
                act()
            except BROKEN:
                self.world.count('broken connections')
                self.client.close()
                self.world.over.wait(0.05)

    def new(self) -> Upload:
        self.count += 1
        sizes, = self.random.choices(list(SIZES), list(SIZES.values()))
        document = f'202611-{self.n:04x}{self.count:028x}'
        extension = self.random.choice(list(MEDIA_TYPES))
        path = f'{self.random.randrange(16):032x}/{document}/{self.random.getrandbits(128):032x}.{extension}'
        form, _, encoded = self.dialect = self.random.choice(DIALECTS)
        metadata = {'name': 'mailbox 1010 message 11-25-2026', 'source_type': 'voicemail', 'media_filename': path.split('/')[2],
                    'metadata': {'call_id': f'{self.count}@10.1.2.3', 'caller_id_name': 'J\u00f6rg "JD" O\'Neil & Co', 'length': 12500},
                    'id': document}
        return Upload(path, media(path, self.random.randint(*sizes)), json.dumps(metadata), form, MEDIA_TYPES[extension], encoded,
                      self.random.choice(['PUT', 'POST']))

    def upload(self) -> None:
        upload = self.new()
        junk = self.dialect[1]
        if self.random.random() < 0.01:
            return self.break_off(upload, junk)
        self.unknown[upload.path] = upload.kept
        reply = self.client.put(upload, junk)
        self.stored(upload.path, reply)
        self.kept[upload.path] = self.unknown.pop(upload.path)
        self.world.count(f'{upload.form}{", base64" if upload.base64 else ""}')

    def break_off(self, upload: Upload, junk: bool) -> None:
        head, body = upload.request(junk)
        self.broken_off.append(upload.path)
        try:
            self.client.send((head + body)[:self.random.randrange(len(head + body))])
        finally:
            self.client.close()
        self.world.count('broken off')

    def replace(self) -> None:
        file = self.random.choice(self.own)
        file.count += 1
        upload = numbered(file.count, file.path, REPLACED_SIZES)
        file.allowed.append(file.count)
        reply = self.client.put(upload)
        self.stored(file.path, reply)
        file.allowed = [file.count]
        self.world.count('replaced')

    def stored(self, path: str, reply: Reply) -> None:
        check(reply.status == 201, lambda: f'{path}: {reply.status} {reply.body[:300]!r}')

    def fetch(self) -> None:
        if not self.kept:
            return
        path = self.random.choice(list(self.kept)) if len(self.kept) < 50 else list(self.kept)[self.random.randrange(-50, 0)]
        got = fetched(self.client, self.random.choice([path, doubled(path)]))
        check(got == self.kept[path][:2], lambda: f'{path} was acknowledged as {self.kept[path]}, and is {got}')
        self.world.count('fetched')

    def fetch_replaced(self) -> None:
        file = self.random.choice(self.world.replaced)
        reply = self.client.get(file.path)
        if reply.status == 404:
            check(None in file.allowed, lambda: f'{file.path} is gone')
            return
        check(reply.status == 200, lambda: f'{file.path}: {reply.status} {reply.body[:300]!r}')
        reply.digest
        number(reply.body, reply.headers['content-type'])
        self.world.count('fetched while it is replaced')

    def probe(self) -> None:
        token = f'{self.random.getrandbits(128):032x}'
        content = f'some random content: {token}'.encode()
        path = f'ACC/{token}/{token}_test_credentials_file.txt'
        form, junk, encoded = self.random.choice(DIALECTS)
        self.stored(path, self.client.put(Upload(path, content, '{}', form, 'text/plain', encoded), junk))
        reply = self.client.get(doubled(path))
        check((reply.status, reply.body) == (200, content), lambda: f'the probe: {reply}')
        self.world.count('probed')


def doubled(path: str) -> str:
    """Fetches like KAZOO since 4.3.106."""
    return f'{path}/{path}?media_id={path.split("/")[1]}&call_id=1%4010.1.2.3&caller_id_name=J%C3%B6rg+%22JD%22&folder=new'


class Sample(NamedTuple):
    """Resources of a server process."""

    rss_kib: float
    descriptors: float
    threads: float

    @classmethod
    def of(cls, pid: int) -> Sample:
        with open(f'/proc/{pid}/status') as file:
            status = dict(line.split(':', 1) for line in file)
        return cls(int(status['VmRSS'].split()[0]), len(os.listdir(f'/proc/{pid}/fd')), int(status['Threads']))


def median(samples: list[Sample]) -> Sample:
    return Sample(*(statistics.median(column) for column in zip(*samples)))


def lifetimes(binary: str, root: str, world: World, seconds: float, life: float, every: float, soakers: list[Soaker]) -> list[list[Sample]]:
    """Starts and kills servers until the end. Returns the resources of each."""
    taken: list[list[Sample]] = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        with Server(binary, root) as server:
            check(not (left := staged(root)), lambda: f'{left} is left in the staging directory')
            world.port = server.port
            taken.append([])
            end = time.monotonic() + life * random.uniform(0.9, 1.1)
            while time.monotonic() < end:
                time.sleep(every)
                check(server.lives(), lambda: f'the server has ended: {server.said()}')
                taken[-1].append(Sample.of(server.pid))
                for soaker in soakers:
                    if soaker.thread.failure:
                        raise soaker.thread.failure
            server.kill()
            check('panic' not in server.said(), lambda: f'the server said: {server.said()}')
        of = median(taken[-1])
        fact(f'{time.monotonic() - begun:.0f} s, lifetime {len(taken)}: {of.rss_kib / 1024:.1f} MiB, {of.descriptors:.0f} descriptors, '
             f'{of.threads:.0f} threads; {sum(len(soaker.kept) for soaker in soakers)} files acknowledged')
    return taken


def is_flat(taken: list[list[Sample]]) -> None:
    """Checks that late processes need no more resources than early ones."""
    third = max(1, len(taken) // 3)
    # The first starts without files.
    early, late = (median([sample for life in lives for sample in life]) for lives in (taken[1:1 + third], taken[-third:]))
    first = median([sample for life in taken[1:] for sample in life[:len(life) // 2]])
    last = median([sample for life in taken[1:] for sample in life[len(life) // 2:]])
    for what, one, other in [('early and late lifetimes', early, late), ('first and second halves of lifetimes', first, last)]:
        fact(f'{what}: {one.rss_kib / 1024:.1f} and {other.rss_kib / 1024:.1f} MiB, {one.descriptors:.0f} and {other.descriptors:.0f} '
             f'descriptors, {one.threads:.0f} and {other.threads:.0f} threads')
    check(late.rss_kib < early.rss_kib * 1.25 + (8 << 10), 'the memory has grown')
    check(late.descriptors < early.descriptors * 1.25 + 16, 'the descriptors have grown')
    check(late.threads < early.threads * 1.25 + 16, 'the threads have grown')


def compare(binary: str, root: str, soakers: list[Soaker]) -> None:
    """Reads every file back."""
    with Server(binary, root) as server:
        def of(some: list[Soaker]) -> None:
            with server.client() as client:
                for soaker in some:
                    for path, kept in soaker.kept.items():
                        have = stored(root, path), fetched(client, path)
                        check(have == (kept, kept[:2]), lambda: f'{path} was acknowledged as {kept}, and is {have}')
                    for path, kept in soaker.unknown.items():
                        check(stored(root, path) in (None, kept), lambda: f'{path} was not acknowledged, and is not whole')
                    for path in soaker.broken_off:
                        check((stored(root, path), fetched(client, path)) == (None, None), lambda: f'{path} was broken off, and is there')
                    for file in soaker.own:
                        reply = client.get(file.path)
                        n = number(reply.body, reply.headers['content-type']) if reply.status == 200 else None
                        check(n in file.allowed, lambda: f'{file.path} is content {n}, not one of {file.allowed}')
                        check(n is None or stored(root, file.path) == numbered(n, file.path, REPLACED_SIZES).kept, f'{file.path}: no pair')

        for thread in [Thread(of, soakers[at::4]) for at in range(4)]:
            thread.join(3600)
        server.stop()
    check(not staged(root), 'something is left in the staging directory of a server that ended')


def main(arguments: argparse.Namespace) -> None:
    seconds, life, every = (45, 8, 1) if arguments.quick else (arguments.minutes * 60, 60, 5)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root, world = f'{directory}/root', World()
        soakers = [Soaker(world, n) for n in range(CLIENTS)]
        try:
            taken = lifetimes(arguments.server, root, world, seconds, life, every, soakers)
        finally:
            world.over.set()
        for soaker in soakers:
            soaker.thread.join(90)
        fact(', '.join(f'{what}: {count}' for what, count in sorted(world.counts.items())))
        begun = time.monotonic()
        compare(arguments.server, root, soakers)
        fact(f'{sum(len(soaker.kept) for soaker in soakers)} acknowledged files and {len(world.replaced)} replaced ones are unchanged '
             f'sent, {sum(len(soaker.unknown) for soaker in soakers)} without an answer are absent or whole, and '
             f'{sum(len(soaker.broken_off) for soaker in soakers)} aborted ones are absent: compared in {time.monotonic() - begun:.0f} s')
        is_flat(taken)


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--minutes', type=float, default=30, help='how long the clients are at work (default: 30)')
    parser.add_argument('--quick', action='store_true', help='45 seconds, and a server that is killed every 8')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, prepare)))
