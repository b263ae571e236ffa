"""Servers, a client and rows of ratios, for the other scripts.

Each row drives both sides alternately with the same client (wrk, 32 connections), takes the ratio of each round, and prints the median
and the spread. It prints no absolute figures, because they describe only this machine. ext4 without a journal is slow for minutes after
many files were deleted: wait, or use a fresh file system.

Before each row, the rig fills all free memory with cached pages, as on a machine that has run for a day. Otherwise the row would
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
import time

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
KIB = 1024
SERVER = '--bin=kazoo-storage'


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


class Rig:
    # The names of the methods that measure rows.
    parts = ()
    # The programs that are built.
    programs = (SERVER,)

    def __init__(self, quick, only, server):
        self.quick, self.only, self.binary = quick, only, server
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
        for program in self.programs:
            if not (self.binary and program == SERVER):
                subprocess.run(['cargo', 'build', '--release', '--quiet', program], cwd=REPO, check=True)
        target = pathlib.Path(os.environ.get('CARGO_TARGET_DIR', REPO / 'target')) / 'release'
        self.binary, self.target = self.binary or target / 'kazoo-storage', target

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
        server = Server(list(map(str, command)), port, '/some_prefix', quiet=True)
        # The server listens before it has opened its ledger, and answers afterwards.
        with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
            s.sendall(b'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
            s.recv(1)
        return server

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

    def put(self, server, body, content_type):
        # Writes the dirty pages of other servers first.
        os.sync()
        return self.put_now(server, body, content_type)

    def put_now(self, server, body, content_type):
        self.puts += 1
        return self.wrk('put.lua', server, self.dir / body, content_type, server.prefix, self.puts)

    # -- the rows

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

    def run(self):
        self.build()
        self.bodies()
        try:
            for part in self.parts:
                if not self.only or self.only in part:
                    getattr(self, part)()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
        print('\n| what | median | goal | met | spread |\n| --- | --- | --- | --- | --- |')
        for row in self.rows:
            print('| ' + ' | '.join(row) + ' |')

    @classmethod
    def main(cls, documentation):
        parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument('--quick', action='store_true', help='every row at reduced size')
        parser.add_argument('--only', default='', help=', '.join(cls.parts))
        parser.add_argument('--server', type=pathlib.Path, help='a server to measure, in place of one that is built')
        options = parser.parse_args()
        cls(options.quick, options.only, options.server).run()
