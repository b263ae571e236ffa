#!/usr/bin/env python3
"""Three servers on one cluster behind nginx, which distributes the requests: the servers share all their state.

None of 10,000 uploads and fetches and 1,000 credentials probes (each an upload and two fetches) fails, although one of the servers
is killed after a third of them. nginx retries requests that the killed server did not answer, by default also PUT.

    python3 tests/system/cluster/balanced.py PATH_TO_THE_SERVER        about two minutes, needs nginx
"""
from __future__ import annotations

import contextlib
import itertools
import pathlib
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ceph import Cluster, listens, reserve_ports
from server import Client, File, Server, check, each, fact, probe, run

UPLOADS = 10_000
PROBES = 1000
THREADS = 16

# A single process, which needs no other user and stops as a whole.
NGINX = '''
daemon off;
master_process off;
pid {d}/pid;
error_log {d}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {d}/body;
    proxy_temp_path {d}/proxy;
    fastcgi_temp_path {d}/fastcgi;
    uwsgi_temp_path {d}/uwsgi;
    scgi_temp_path {d}/scgi;
    upstream servers {{
        {servers}
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_next_upstream error timeout non_idempotent;
        }}
    }}
}}
'''


@contextlib.contextmanager
def nginx(addresses: list[str]) -> Iterator[str]:
    """The address of an nginx in front of these servers."""
    with tempfile.TemporaryDirectory(prefix='kazoo-storage-nginx-') as name:
        directory, ([port], [held]) = pathlib.Path(name), reserve_ports(1)
        servers = '\n        '.join(f'server {address} fail_timeout=1s;' for address in addresses)
        (directory / 'nginx.conf').write_text(NGINX.format(d=directory, port=port, servers=servers))
        command = ['setpriv', '--pdeathsig', 'KILL', 'nginx', '-p', name, '-e', f'{name}/error.log', '-c', f'{name}/nginx.conf']
        process = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 10
            while not listens(port):
                check(process.poll() is None and time.monotonic() < deadline, 'nginx does not listen')
                time.sleep(0.05)
            held.close()
            yield f'127.0.0.1:{port}'
        finally:
            process.kill()
            process.wait()


class Probes:
    """Repeats KAZOO's credentials test."""

    def __init__(self, client: Client):
        self.client, self.done, self.wrong = client, 0, []

    def run(self) -> float:
        """Returns the duration."""
        begun = time.monotonic()
        for _ in range(PROBES):
            path, content = probe(secrets.token_hex(16))
            reply = self.client.put(path, content, '{"id":"DOC"}' if self.done % 2 else None, 'text/plain')
            if reply.status != 201:
                self.wrong.append(f'PUT: {reply.status} {reply.body!r}')
            # Current releases of KAZOO fetch PATH from PATH/PATH.
            for target in (path, f'{path}/{path}?id=DOC'):
                reply = self.client.get(target)
                if reply.status != 200 or reply.body != content:
                    self.wrong.append(f'GET {target}: {reply.status} {reply.body!r}')
            self.done += 1
        return time.monotonic() - begun


def uploads(client: Client, files: list[File], third: threading.Event) -> tuple[float, list[str]]:
    """Returns the duration, and the refused files."""
    done, begun = itertools.count(1), time.monotonic()

    def upload(file: File) -> str | None:
        try:
            reply = file.put(client)
            return None if reply.status == 201 else f'{file.path}: {reply.status} {reply.body!r}'
        finally:
            if next(done) == len(files) // 3:
                third.set()

    refused = [what for what in each(THREADS, upload, files) if what]
    return time.monotonic() - begun, refused


def main(binary: str) -> None:
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster('memstore'))
        servers = [stack.enter_context(Server(binary, cluster)) for _ in range(3)]
        client = Client(stack.enter_context(nginx([server.address for server in servers])))
        files = [File.named('balanced', n, 2048 + n * 7919 % (18 * 1024), 0 if n % 3 else 300) for n in range(UPLOADS)]
        probes, third = Probes(client), threading.Event()
        with ThreadPoolExecutor() as pool:
            probing, uploading = pool.submit(probes.run), pool.submit(uploads, client, files, third)
            third.wait(300)
            servers[0].kill()
            before = probes.done
        took, refused = uploading.result()
        check(not refused, f'{len(refused)} of {UPLOADS} uploads were refused, the first: {refused[:3]}')
        check(0 < before < PROBES, f'the server was killed when {before} of {PROBES} probes were done, not in the middle of them')
        fact(f'one of three servers killed after a third: all {UPLOADS} uploads acknowledged, {UPLOADS / took:.0f} a second')
        seconds = probing.result()
        check(not probes.wrong, f'{len(probes.wrong)} requests of {PROBES} probes went wrong, the first: {probes.wrong[:3]}')
        fact(f'{probes.done} of {PROBES} credentials probes right, {before} of them before the kill, {PROBES / seconds:.0f} a second')
        begun = time.monotonic()
        wrong = [what for what in each(THREADS, lambda file: file.wrong(client), files) if what]
        check(not wrong, f'{len(wrong)} of {UPLOADS} files are wrong, the first: {wrong[:3]}')
        fact(f'all {UPLOADS} fetched right, {UPLOADS / (time.monotonic() - begun):.0f} a second')


if __name__ == '__main__':
    sys.exit(run(main, sys.argv[1:], __doc__))
