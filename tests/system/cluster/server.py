"""The server on a cluster, a client that sends what KAZOO sends, and files that are determined by their names.

Shared code for the other scripts.
"""
from __future__ import annotations

import http.client
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from ceph import BUCKET, REGION, Cluster, Failed

MOUNT = '/some_prefix'
PREFIX = 'files'
BOUNDARY = 'qBtIAIMsGhjGtdQFDTfp46dopotF_kFVzgDYHfXr7PjJhH5nqazdvBD2tI7xH-Yi'
In, Out = TypeVar('In'), TypeVar('Out')


class Server:
    """One server, which stores its files in the cluster's bucket below `PREFIX`. Like the cluster, it must be started from the main
    thread, with which it ends."""

    count = 0

    def __init__(self, binary: str, cluster: Cluster, *flags: str, deadline: int = 30, log: str = 'warn'):
        Server.count += 1
        self.log = cluster.directory / f'server.{Server.count}.log'
        command = ['setpriv', '--pdeathsig', 'KILL', binary, 'serve', '--listen', '127.0.0.1:0', '--mount', MOUNT,
                   '--store', f's3://{BUCKET}/{PREFIX}', '--s3-endpoint', cluster.endpoint, '--s3-region', REGION,
                   '--store-deadline', str(deadline), *flags]
        credentials = {'AWS_ACCESS_KEY_ID': cluster.access_key, 'AWS_SECRET_ACCESS_KEY': cluster.secret_key}
        with open(self.log, 'wb') as err:
            self.process = subprocess.Popen(command, env=os.environ | credentials | {'RUST_LOG': log}, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=err, text=True)
        line = self.process.stdout.readline() if self.process.stdout else ''
        match = re.fullmatch(r'listening on http://(\S+)\n', line)
        if not match:
            self.kill()
            raise Failed(f'the server said {line!r} instead of where it listens: {self.log.read_text()[-2000:]}')
        self.address = match[1]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Sends SIGTERM, and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float


class Client:
    """Sends KAZOO's requests, on one persistent connection for each thread."""

    def __init__(self, address: str, timeout: float = 120):
        self.address, self.timeout = address, timeout
        self.local = threading.local()

    def put(self, path: str, body: bytes, metadata: str | None = None, media_type: str = 'audio/mpeg') -> Reply:
        """Sends `body` raw, or as multipart with its metadata."""
        if metadata is None:
            return self.request('PUT', path, body, media_type)
        document, name = path.split('/')[-2:]
        whole = b''.join([_part(document, 'application/json', metadata.encode()), _part(name, media_type, body),
                          f'\r\n--{BOUNDARY}--'.encode()])
        return self.request('PUT', path, whole, f'multipart/form-data; boundary={BOUNDARY}')

    def get(self, path: str) -> Reply:
        return self.request('GET', path)

    def request(self, method: str, path: str, body: bytes = b'', media_type: str | None = None) -> Reply:
        connection = getattr(self.local, 'connection', None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection(self.address, timeout=self.timeout)
        begun = time.monotonic()
        try:
            connection.putrequest(method, f'{MOUNT}/{path}', skip_accept_encoding=True)
            if media_type:
                connection.putheader('content-type', media_type)
            connection.putheader('content-length', str(len(body)))
            connection.putheader('te', '')
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read(), time.monotonic() - begun)
        except (OSError, http.client.HTTPException):
            # The next request opens a new connection.
            connection.close()
            raise


def _part(name: str, media_type: str, body: bytes) -> bytes:
    head = f'\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name={name}\r\ncontent-type: {media_type}\r\n\r\n'
    return head.encode() + body


class File(NamedTuple):
    """A file that a test uploads. Its path determines its content and metadata, so any found file can be checked."""

    path: str
    size: int
    # Length of its metadata, in bytes. 0 for none.
    document: int

    @classmethod
    def named(cls, series: str, n: int, size: int, document: int = 0) -> File:
        return cls.of(f'{n % 16:032x}/202611-{n:032x}/{series}-{n}-{size}-{document}.mp3')

    @classmethod
    def of(cls, path: str) -> File:
        match = re.search(r'-(\d+)-(\d+)\.mp3$', path)
        if not match:
            raise Failed(f'{path} is not a file of these tests')
        return cls(path, int(match[1]), int(match[2]))

    @property
    def body(self) -> bytes:
        return random.Random(self.path).randbytes(self.size)

    @property
    def metadata(self) -> str | None:
        if not self.document:
            return None
        text = json.dumps({'name': 'Nachricht für 1010', 'id': self.path.split('/')[1], 'note': ''}, ensure_ascii=False)
        return text[:-2] + 'x' * (self.document - len(text.encode())) + '"}'

    def put(self, client: Client) -> Reply:
        return client.put(self.path, self.body, self.metadata)

    def wrong(self, client: Client) -> str | None:
        """The fault in the stored file, or `None`."""
        reply = client.get(self.path)
        if reply.status != 200:
            return f'{self.path}: {reply.status} {reply.body[:200]!r}'
        if reply.body != self.body:
            return f'{self.path}: {len(reply.body)} bytes that are not the {self.size} that were uploaded'
        return None


def probe(token: str) -> tuple[str, bytes]:
    """The path and the content of KAZOO's credentials probe."""
    return f'ACC/DOC/{token}_test_credentials_file.txt', f'some random content: {token}'.encode()


def each(threads: int, work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def check(is_so: Any, otherwise: str) -> None:
    if not is_so:
        raise Failed(otherwise)


def fact(text: str) -> None:
    print(text, flush=True)


def run(main: Callable[[str], None], arguments: list[str], usage: str | None) -> int:
    """Runs a script that takes the path of the server, and reports its failure."""
    # Exits through the `with` blocks, which stop the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if len(arguments) != 1 or not pathlib.Path(arguments[0]).is_file():
        print(usage)
        return 2
    begun = time.monotonic()
    try:
        main(arguments[0])
    except (Failed, OSError, http.client.HTTPException) as error:
        print(f'FAILED: {type(error).__name__}: {error}', flush=True)
        return 1
    fact(f'passed in {time.monotonic() - begun:.0f} s')
    return 0
