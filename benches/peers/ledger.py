#!/usr/bin/env python3
"""Measures the cost of the ledger, and whether webhooks keep up with uploads.

    benches/peers/ledger.py            the whole table, about a quarter of an hour
    benches/peers/ledger.py --quick    every row at reduced size, to test that the script works

- uploads: durable uploads with a ledger in SQLite, and in a PostgreSQL on this machine, next to uploads without a ledger.
- deliveries: events that a webhook receives next to the uploads of the same seconds, while events wait. nginx is the webhook, and
  shares the processors. If events are delivered as fast as they arrive, the backlog does not grow.
- backlog: the memory of a server with 1 000 000 waiting events next to the same server without events.

It needs nginx, wrk and PostgreSQL (Debian: nginx-light wrk postgresql openssl) and about 20 GB of disk, below $PEERS_DIR or /tmp, and
builds the release server. rig.py describes how it measures.
"""
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time

from rig import REPO, Rig, free_port

sys.path.append(str(REPO / 'tests' / 'system' / 'cluster'))
from postgres import Postgres, program  # noqa: E402

SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
# Adds a waiting event with 700 bytes of metadata for each of `numbers`. `{pad}` is the number with leading zeros.
EVENT = '''INSERT INTO outbox (receiver, event, event_kind, recorded_at, key, kind, size, sha256, content_type, stored_at, metadata,
    call_id, caller_number, callee_number, due_at)
    SELECT r.name, '01a22706-7734-72d7-a061-' || {pad}, 'file.stored', {now}, 'ACC' || (n % 64) || {separator} || '202611-' || {pad} ||
    {separator} || 'message.mp3', 'voicemail', 65536, {digest}, 'audio/mpeg', {now}, '{document}', 'call-' || {pad}, '+4930123456',
    '1010', {now} FROM numbers, receivers r WHERE r.active = 1'''
DOCUMENT = json.dumps({'call_id': 'b3f6d5e2@10.0.0.5', 'caller_id_number': '+4930123456', 'padding': 'x' * 600})


class Sqlite:
    """The ledger of a server, as another process sees it."""

    def __init__(self, root):
        self.path = root / 'files.sqlite'
        self.location = f'sqlite:{self.path}'

    def run(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            return connection.execute(sql).fetchone()

    def add(self, count):
        event = EVENT.format(pad="printf('%012d', n)", separator='char(31)', digest='randomblob(32)', document=DOCUMENT,
                             now=int(time.time() * 1000))
        self.run(f'WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) {event}')

    def counts(self):
        """The number of events ever, and of those that wait."""
        return self.run("SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), (SELECT count(*) FROM outbox)")


class PostgresLedger:
    """The same in PostgreSQL."""

    def __init__(self, server):
        self.location = server.url

    def run(self, sql):
        command = [program('psql'), self.location, '-qAtX', '-v', 'ON_ERROR_STOP=1', '-c', f'SET search_path = kazoo_storage; {sql}']
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return [int(value) for value in out.split('|')] if out else None

    def add(self, count):
        event = EVENT.format(pad="lpad(n::text, 12, '0')", separator='chr(31)', digest="sha256(n::text::bytea)", document=DOCUMENT,
                             now=int(time.time() * 1000))
        self.run(f'WITH numbers (n) AS (SELECT generate_series(1, {count})) {event}')

    def counts(self):
        return self.run("SELECT (SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')), 0)), "
                        '(SELECT count(*) FROM outbox)')


class LedgerBench(Rig):
    parts = ('uploads', 'deliveries', 'backlog')

    def deliveries_to(self, url, **fields):
        path = self.root() / 'deliveries.json'
        path.write_text(json.dumps({'webhooks': [{'url': url, 'secret': SECRET, 'name': 'receiver', 'metadata': True, **fields}]}))
        return ('--deliveries', path)

    def rate(self, server):
        return lambda: self.put(server, 'multipart', self.multipart_type)[0]

    def uploads(self):
        with Postgres(fsync=True) as postgres:
            none = self.ours()
            for name, location, goal in (('SQLite', f'sqlite:{self.root()}/files.sqlite', 0.85),
                                         ('PostgreSQL', postgres.url, 0.70)):
                server = self.ours('--ledger', location)
                self.row(f'durable multipart upload of 64 KiB, ledger in {name} / without', ('≥', goal), self.rate(server), self.rate(none))
                server.stop()
            none.stop()

    def deliveries(self):
        with Postgres(fsync=True) as postgres:
            for name, ledger in (('SQLite', Sqlite(self.root())), ('PostgreSQL', PostgresLedger(postgres))):
                receiver = self.nginx()
                server = self.ours('--ledger', ledger.location, *self.deliveries_to(f'http://127.0.0.1:{receiver.port}/accepts'))
                self.settle()
                ratios = [self.keeps_up(server, ledger) for _ in range(self.rounds)]
                self.put_row(f'events delivered / uploads, ledger in {name}', statistics.median(ratios), ('≥', 1.0),
                             f'{min(ratios):.2f} to {max(ratios):.2f}')
                start = time.monotonic()
                while left := ledger.counts()[1]:
                    if time.monotonic() > start + 600:
                        sys.exit(f'{left} events are left')
                    time.sleep(0.1)
                server.stop(), receiver.stop()

    def keeps_up(self, server, ledger):
        """Returns the events delivered for each upload while more wait than can be delivered."""
        ledger.add(5_000 if self.quick else 20_000)
        os.sync()
        recorded, waiting = ledger.counts()
        self.put_now(server, 'multipart', self.multipart_type)
        recorded_then, waiting_then = ledger.counts()
        if not waiting_then:
            sys.exit('the backlog was too small')
        uploads = recorded_then - recorded
        return (uploads + waiting - waiting_then) / uploads

    def backlog(self):
        events = 20_000 if self.quick else 1_000_000
        receiver, ledger = self.nginx(), Sqlite(self.root())
        flags = {what: self.deliveries_to(url) for what, url in (
            ('no receiver listens', f'http://127.0.0.1:{free_port()}/'),
            ('the receiver fails', f'http://127.0.0.1:{receiver.port}/fails'),
            ('the receiver accepts', f'http://127.0.0.1:{receiver.port}/accepts'))}
        idle = {what: self.peak(ledger, flags[what]) for what in flags}
        ledger.add(events)
        for what in flags:
            self.put_row(f'{events} waiting events, {what}: MiB above idle', self.peak(ledger, flags[what]) - idle[what], ('≤', 16))
        receiver.stop()

    def peak(self, ledger, flags):
        server = self.ours('--ledger', ledger.location, *flags)
        time.sleep(2 if self.quick else 10)
        peak = server.memory('VmHWM')
        server.stop()
        return peak


if __name__ == '__main__':
    LedgerBench.main(__doc__)
