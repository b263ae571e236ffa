#!/usr/bin/env python3
"""Compares the server with its peers: nginx, and the programs that a user of Node or axum would write.

    benches/peers/run.py            the whole table, about half an hour
    benches/peers/run.py --quick    every row at reduced size, to test that the script works

It needs nginx, wrk, node and npm (Debian: nginx-light wrk nodejs npm) and about 30 GB of disk, below $PEERS_DIR or /tmp, and builds the
release server and the peers in Rust itself. rig.py describes how it measures.
"""
import os
import shutil
import socket
import statistics
import subprocess
import threading

from rig import HERE, KIB, Rig, Server, free_port


class Peers(Rig):
    parts = ('uploads', 'downloads', 'receivers', 'memory', 'many', 'volumes')
    programs = (*Rig.programs, '--package=kazoo-storage-peers')

    def busboy(self):
        port, code = free_port(), self.dir / 'busboy'
        if not code.exists():
            shutil.copytree(HERE / 'busboy', code)
            subprocess.run(['npm', 'install', '--silent', '--no-audit', '--no-fund'], cwd=code, check=True)
        return Server(['node', 'server.js', str(port), str(self.root_of_uploads())], port, '', cwd=code)

    def peer(self, program, *before, after=()):
        port = free_port()
        return Server([str(self.target / program), *before, str(port), str(self.root_of_uploads()), *after], port, '')

    def uploads(self):
        nginx = self.nginx()
        durable, fast = self.ours(), self.ours('--no-fsync')
        raw, form = ('raw', 'audio/mpeg'), ('multipart', self.multipart_type)
        rate = lambda server, what: lambda: self.put(server, *what)[0]
        self.row('raw 64 KiB PUT, durable / nginx PUT', ('≥', 1.0), rate(durable, raw), rate(nginx, raw))
        self.row('multipart 64 KiB with metadata, durable / nginx PUT, same body', ('≥', 0.75), rate(durable, form), rate(nginx, form))
        self.row('raw 64 KiB PUT, --no-fsync / nginx PUT', ('≥', 1.0), rate(fast, raw), rate(nginx, raw))
        each, log = self.peer('peer_fsync_each'), self.peer('peer_append_log')
        self.row('raw 64 KiB PUT, durable / axum: fsync and rename each file', ('≥', 2.5), rate(durable, raw), rate(each, raw))
        self.row('raw 64 KiB PUT, durable / appended, one fdatasync per group', ('≥', 0.6), rate(durable, raw), rate(log, raw))
        spread = [(lambda p: p[2] / p[1])(self.put(durable, *raw)) for _ in range(self.rounds)]
        self.put_row('raw 64 KiB PUT, durable: p99 / its p50', statistics.median(spread), ('≤', 5), f'{min(spread):.2f} to {max(spread):.2f}')
        for server in (nginx, durable, fast, each, log):
            server.stop()

    def downloads(self):
        for size, files, goal in ((64 * KIB, 200, 1.0), (4 * KIB, 200, 1.0), (64 * KIB * KIB, 2, 0.8)):
            root = self.root()
            for n in range(files):
                (root / str(n)).mkdir()
                (root / str(n) / 'message.mp3').write_bytes(os.urandom(size))
            nginx, ours = self.nginx(files=root), self.ours(root=root)
            connections = 32 if size < KIB * KIB else 4
            fetch = lambda server, prefix: lambda: self.wrk('get.lua', server, prefix, files, connections=connections)[0]
            name = f'{size // KIB} KiB' if size < KIB * KIB else f'{size // KIB // KIB} MiB'
            self.row(f'GET {name} / nginx with sendfile', ('≥', goal), fetch(ours, '/some_prefix'), fetch(nginx, '/get'))
            nginx.stop(), ours.stop()

    def receivers(self):
        fast, durable, node, axum = self.ours('--no-fsync'), self.ours(), self.busboy(), self.peer('peer_axum')
        form = ('encoded', self.multipart_type)
        rate = lambda server: lambda: self.put(server, *form)[0]
        self.row('multipart + base64 64 KiB, --no-fsync / Node with busboy', ('≥', 4.0), rate(fast), rate(node))
        self.row('multipart + base64 64 KiB, --no-fsync / axum Multipart', ('≥', 1.2), rate(fast), rate(axum))
        self.row('multipart + base64 64 KiB, durable / --no-fsync (what durability costs)', ('≥', 0.0), rate(durable), rate(fast))
        for server in (fast, durable, node, axum):
            server.stop()

    def memory(self):
        count, size = (8, 8 * KIB * KIB) if self.quick else (64, 64 * KIB * KIB)
        # A cold start: the heap has not grown yet. tests/system/memory_budget.py measures the other forms of an upload.
        server = self.ours('--no-fsync')
        idle, chunk = server.memory('VmRSS'), os.urandom(64 * KIB)

        def upload(n):
            with socket.create_connection(('127.0.0.1', server.port)) as s:
                s.sendall(f'PUT /some_prefix/ACC/DOC/{n}.mp3 HTTP/1.1\r\nhost: x\r\ncontent-type: audio/mpeg\r\ncontent-length: {size}\r\n\r\n'.encode())
                for _ in range(size // len(chunk)):
                    s.sendall(chunk)
                assert s.recv(64).startswith(b'HTTP/1.1 201'), 'not stored'
        threads = [threading.Thread(target=upload, args=(n,)) for n in range(count)]
        [t.start() for t in threads], [t.join() for t in threads]
        grown = server.memory('VmHWM') - idle
        self.put_row(f'{count} concurrent uploads of {size // KIB // KIB} MiB from a cold start: MiB above idle', grown, ('≤', 32))
        server.stop()

    def many(self):
        few, lots = (100, 1000) if self.quick else (1000, 1_000_000)
        servers = []
        for stored in (few, lots):
            root = self.root()
            content = os.urandom(512)
            # Accounts, months, and a document for each file, as in KAZOO.
            for n in range(stored):
                directory = root / f'{n % 64:032x}' / f'20{10 + n % 16}{1 + n % 12:02}-{n:032x}'
                directory.mkdir(parents=True)
                (directory / 'message.mp3').write_bytes(content)
            servers.append((self.ours('--no-fsync', root=root), root))
        for name in ('PUT', 'GET'):
            measure = {}
            for (server, root), stored in zip(servers, (few, lots)):
                if name == 'PUT':
                    measure[stored] = lambda server=server: self.put(server, 'raw', 'audio/mpeg')[0]
                else:
                    measure[stored] = lambda server=server, stored=stored: self.wrk('get-many.lua', server, server.prefix, stored)[0]
            measure[few](), measure[lots]()
            costs = [measure[few]() / measure[lots]() for _ in range(self.rounds)]
            self.put_row(f'{name} with {lots} files stored / with {few}: cost', statistics.median(costs), ('≤', 1.2),
                         f'{min(costs):.2f} to {max(costs):.2f}')
        for server, _ in servers:
            server.stop()

    def volumes(self):
        for ledger, forms in (((), ('raw', 'audio/mpeg')), (('ledger',), ('multipart', self.multipart_type))):
            volumes, files = (self.peer('peer_volumes', store, after=ledger) for store in ('volumes', 'files'))
            rate = lambda server: lambda: self.put(server, *forms)[0]
            name = f'{forms[0]} 64 KiB PUT, {"with" if ledger else "without"} a ledger, appended to a volume / as files'
            self.row(name, ('≥', 2.0), rate(volumes), rate(files))
            volumes.stop(), files.stop()


if __name__ == '__main__':
    Peers.main(__doc__)
