#!/usr/bin/env python3
"""Compares the server with its peers: nginx, and the programs that a user of Node or axum would write.

    benches/peers/run.py            the whole table, about half an hour
    benches/peers/run.py --quick    every row at reduced size, to test that the script works

Each row drives both sides alternately with the same client (wrk, 32 connections), takes the ratio of each round, and prints the median
and the spread. It prints no absolute figures, because they describe only this machine. It needs nginx, wrk, node and npm (Debian:
nginx-light wrk nodejs npm) and about 30 GB of disk, below $PEERS_DIR or /tmp, and builds the release server and the axum peer itself.
ext4 without a journal is slow for minutes after many files were deleted: wait, or use a fresh file system.

Before each row, the script fills all free memory with cached pages, as on a machine that has run for a day. Otherwise the row would
measure the allocation of pages: in a virtual machine, which returns free memory to its host, the first use of a page costs more than
storing a file in it.
"""
import argparse
import base64
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
KIB = 1024


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(('127.0.0.1', port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f'no server listens on port {port}')


class Server:
    """A server process and the prefix of its URLs."""

    def __init__(self, command, port, prefix, cwd=None, quiet=False):
        # nginx has no access log either.
        env = dict(os.environ, RUST_LOG='warn') if quiet else None
        self.process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port, self.prefix = port, prefix
        wait_for(port)

    def memory(self, field):
        for line in open(f'/proc/{self.process.pid}/status'):
            if line.startswith(field + ':'):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Bench:
    def __init__(self, quick, only):
        self.quick, self.only = quick, only
        self.seconds, self.rounds = (1, 2) if quick else (4, 5)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='kazoo-storage-peers-', dir=os.environ.get('PEERS_DIR')))
        # ext4 allocates the files of one directory near each other, and is slow where files were deleted minutes ago. So this run
        # deletes nothing before its end, and this attribute makes ext4 place each root elsewhere on the disk.
        subprocess.run(['chattr', '+T', self.dir], check=False, stderr=subprocess.DEVNULL)
        self.rows = []
        self.roots = self.puts = 0
        self.uploads_in = []

    # -- the servers

    def build(self):
        # Separately, so that the peer adds no features to the server's dependencies.
        for program in ['--bin=kazoo-storage', '--package=kazoo-storage-peers']:
            subprocess.run(['cargo', 'build', '--release', '--quiet', program], cwd=REPO, check=True)
        target = pathlib.Path(os.environ.get('CARGO_TARGET_DIR', REPO / 'target')) / 'release'
        self.binary, self.axum = target / 'kazoo-storage', target / 'peer_axum'

    def root(self):
        self.roots += 1
        path = self.dir / f'root{self.roots}'
        path.mkdir()
        return path

    def root_of_uploads(self):
        path = self.root()
        self.uploads_in.append(path)
        return path

    def ours(self, *flags, root=None):
        """A server without a ledger, as its peers have none, unless the flags name one."""
        port = free_port()
        flags = flags if '--ledger' in flags else ('--ledger', 'none', *flags)
        command = [self.binary, 'serve', '--listen', f'127.0.0.1:{port}', '--store', root or self.root_of_uploads(), *flags]
        return Server(list(map(str, command)), port, '/some_prefix', quiet=True)

    def nginx(self, files=None):
        port, home = free_port(), self.root_of_uploads()
        (home / 'put').mkdir()
        config = (HERE / 'nginx.conf').read_text()
        for name, value in {'@DIR@': home, '@PORT@': port, '@FILES@': files or home}.items():
            config = config.replace(name, str(value))
        (home / 'nginx.conf').write_text(config)
        if os.geteuid() == 0:
            # As root, nginx would run its workers as another user.
            config = 'user root;\n' + config
            (home / 'nginx.conf').write_text(config)
        return Server(['nginx', '-c', str(home / 'nginx.conf'), '-p', str(home), '-g', 'daemon off;'], port, '/put')

    def busboy(self):
        port, code = free_port(), self.dir / 'busboy'
        if not code.exists():
            shutil.copytree(HERE / 'busboy', code)
            subprocess.run(['npm', 'install', '--silent', '--no-audit', '--no-fund'], cwd=code, check=True)
        return Server(['node', 'server.js', str(port), str(self.root_of_uploads())], port, '', cwd=code)

    def axum_peer(self):
        port = free_port()
        return Server([str(self.axum), str(port), str(self.root_of_uploads())], port, '')

    # -- the client

    def wrk(self, script, server, *args, connections=32):
        command = ['wrk', '-t2', f'-c{connections}', f'-d{self.seconds}s', '--timeout', '30s', '-s', str(HERE / script),
                   f'http://127.0.0.1:{server.port}', '--', *map(str, args)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        result = [line for line in out.splitlines() if line.startswith('RESULT')]
        if not result:
            sys.exit(f'no result from {command}:\n{out}')
        rate, errors, p50, p99 = map(float, result[0].split()[1:])
        if errors:
            sys.exit(f'{errors:.0f} requests failed in {" ".join(command)}\n{out}')
        return rate, p50, p99

    def settle(self):
        """Frees disk space, and fills the free memory with cached pages."""
        for root in self.uploads_in:
            for path in root.glob('**/message.mp3'):
                os.truncate(path, 0)
        os.sync()
        if not self.quick:
            filler = self.dir / 'filler'
            filler.touch()
            os.truncate(filler, os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
            with open(filler, 'rb', buffering=0) as file:
                chunk = bytearray(KIB * KIB)
                while file.readinto(chunk):
                    pass

    def row(self, what, goal, a, b):
        """Measures `a` and `b` alternately, and reports the median of their ratios."""
        self.settle()
        a(), b()
        ratios = [a() / b() for _ in range(self.rounds)]
        self.put_row(what, statistics.median(ratios), goal, f'{min(ratios):.2f} to {max(ratios):.2f}')

    def put_row(self, what, value, goal, spread=''):
        met = '' if self.quick else ('yes' if (value <= goal[1] if goal[0] == '≤' else value >= goal[1]) else 'NO')
        self.rows.append((what, f'{value:.2f}', f'{goal[0]} {goal[1]}', met, spread))
        print(f'{what:64} {value:6.2f}   goal {goal[0]} {goal[1]:<5} {met:4} {spread}', flush=True)

    def wanted(self, name):
        return not self.only or self.only in name

    # -- bodies

    def bodies(self):
        media = random.Random(1).randbytes(64 * KIB)
        document = json.dumps({'name': 'mailbox 1010 message', 'source_type': 'voicemail', 'metadata': {
            'call_id': 'b3f6d5e2@10.0.0.5', 'caller_id_name': 'Anna', 'caller_id_number': '+4930123456', 'folder': 'new',
            'from': '+4930123456@sip.example.com', 'to': '1010@sip.example.com', 'length': 12500}, 'id': '202611-' + 'c' * 32})
        boundary = 'qBtIAIMsGhjGtdQFDTfp46dopotF_kFVzgDYHfXr7PjJhH5nqazdvBD2tI7xH-Yi'

        def multipart(content):
            def part(name, kind, body):
                head = f'\r\n--{boundary}\r\ncontent-disposition: form-data; name={name}\r\ncontent-type: {kind}\r\n\r\n'
                return head.encode() + body
            return (part('202611-' + 'c' * 32, 'application/json', document.encode()) + part('message.mp3', 'audio/mpeg', content)
                    + f'\r\n--{boundary}--'.encode())
        self.multipart_type = f'multipart/form-data; boundary={boundary}'
        for name, body in {'raw': media, 'multipart': multipart(media), 'encoded': multipart(base64.b64encode(media))}.items():
            (self.dir / name).write_bytes(body)

    # -- the rows

    def put(self, server, body, content_type):
        # Writes the dirty pages of other servers first.
        os.sync()
        self.puts += 1
        return self.wrk('put.lua', server, self.dir / body, content_type, server.prefix, self.puts)

    def uploads(self):
        nginx = self.nginx()
        durable, fast = self.ours(), self.ours('--no-fsync')
        raw, form = ('raw', 'audio/mpeg'), ('multipart', self.multipart_type)
        rate = lambda server, what: lambda: self.put(server, *what)[0]
        self.row('raw 64 KiB PUT, durable / nginx PUT', ('≥', 1.0), rate(durable, raw), rate(nginx, raw))
        self.row('multipart 64 KiB with metadata, durable / nginx PUT, same body', ('≥', 0.75), rate(durable, form), rate(nginx, form))
        self.row('raw 64 KiB PUT, --no-fsync / nginx PUT', ('≥', 1.5), rate(fast, raw), rate(nginx, raw))
        spread = [(lambda p: p[2] / p[1])(self.put(durable, *raw)) for _ in range(self.rounds)]
        self.put_row('raw 64 KiB PUT, durable: p99 / its p50', statistics.median(spread), ('≤', 5), f'{min(spread):.2f} to {max(spread):.2f}')
        recorded = self.ours('--ledger', f'sqlite:{self.root()}/files.sqlite')
        self.row('multipart 64 KiB with metadata, durable, with a ledger / without', ('≥', 0.85), rate(recorded, form), rate(durable, form))
        for server in (nginx, durable, fast, recorded):
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
        fast, durable, node, axum = self.ours('--no-fsync'), self.ours(), self.busboy(), self.axum_peer()
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

    def run(self):
        self.build()
        self.bodies()
        try:
            for part in (self.uploads, self.downloads, self.receivers, self.memory, self.many):
                if self.wanted(part.__name__):
                    part()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
        print('\n| what | median | goal | met | spread |\n| --- | --- | --- | --- | --- |')
        for row in self.rows:
            print('| ' + ' | '.join(row) + ' |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='every row at reduced size')
    parser.add_argument('--only', default='', help='uploads, downloads, receivers, memory or many')
    options = parser.parse_args()
    Bench(options.quick, options.only).run()
