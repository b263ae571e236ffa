"""A server process with its own root, a client that sends what KAZOO sends, and a view of the files on the disk.

Shared code for the other scripts.
"""
from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

MOUNT = '/some_prefix'
BOUNDARY = 'qBtIAIMsGhjGtdQFDTfp46dopotF_kFVzgDYHfXr7PjJhH5nqazdvBD2tI7xH-Yi'
# The media types that KAZOO sends, by the extension of the file.
MEDIA_TYPES = {'mp3': 'audio/mpeg', 'wav': 'audio/x-wav', 'tiff': 'image/tiff', 'pdf': 'application/pdf'}
MEDIA_TYPE = MEDIA_TYPES['mp3']
# The numbers of these calls on x86-64 and on aarch64. A separate call restarts a futex wait with a timeout.
FUTEX, RESTART = ('202', '98'), ('219', '128')
# Errors of a connection to a killed server.
BROKEN = (OSError, http.client.HTTPException)


class Failed(Exception):
    """A promise of the server does not hold."""


def check(is_so: Any, otherwise: str | Callable[[], str]) -> None:
    if not is_so:
        raise Failed(otherwise if isinstance(otherwise, str) else otherwise())


def fact(text: str) -> None:
    print(text, flush=True)


def media(seed: object, size: int) -> bytes:
    """Bytes determined by the seed: the start of an MP3 file, then noise."""
    return (b'ID3\4\0\0' + random.Random(str(seed)).randbytes(size))[:size] if size else b''


class Kept(NamedTuple):
    """The expected file at a path."""

    digest: bytes
    media_type: str
    metadata: str | None


class Upload(NamedTuple):
    """A file and its form of upload: `raw`, `form-data`, or `mixed` without a boundary."""

    path: str
    media: bytes
    metadata: str | None = None
    form: str = 'raw'
    media_type: str = MEDIA_TYPE
    base64: bool = False
    method: str = 'PUT'

    @property
    def kept(self) -> Kept:
        return Kept(hashlib.sha256(self.media).digest(), self.media_type, None if self.form == 'raw' else self.metadata)

    def body(self) -> tuple[str, bytes]:
        """The media type of the request, and its body."""
        if self.form == 'raw':
            return self.media_type, self.media
        names = ['', '']
        if self.form == 'form-data':
            names = [f'content-disposition: form-data; name={name}\r\n' for name in self.path.split('/')[-2:]]
        media = base64.b64encode(self.media) if self.base64 else self.media
        parts = zip(names, ['application/json', self.media_type], [(self.metadata or '{}').encode(), media])
        body = b''.join(f'\r\n--{BOUNDARY}\r\n{name}content-type: {media_type}\r\n\r\n'.encode() + content
                        for name, media_type, content in parts)
        parameter = f'; boundary={BOUNDARY}' if self.form == 'form-data' else ''
        return f'multipart/{self.form}{parameter}', body + f'\r\n--{BOUNDARY}--'.encode()

    def request(self, junk: bool = False) -> tuple[bytes, bytes]:
        """The head and the body as KAZOO sends them. Releases before 4.3.106 repeat the media type in a `junk` header."""
        content_type, body = self.body()
        head = f'{self.method} {MOUNT}/{self.path} HTTP/1.1\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n' \
               'te: \r\nhost: 127.0.0.1\r\nconnection: keep-alive\r\n'
        if junk:
            head += f'content_type: {content_type}\r\n'
        return head.encode() + b'\r\n', body


def numbered(n: int, path: str, sizes: list[int]) -> Upload:
    """The `n`th content of a file that is replaced. Its media type and metadata contain `n` too, and its digest shows whether it
    is complete."""
    payload = media(n, random.Random(n).choice(sizes))
    content = f'{n:012} {hashlib.sha256(payload).hexdigest()} '.encode() + payload
    return Upload(path, content, json.dumps({'id': path.split('/')[1], 'number': n}), 'raw' if n % 4 == 3 else 'form-data', f'audio/x-n{n}')


def number(content: bytes, media_type: str) -> int:
    """The number of `content`. Fails if it is incomplete, or if its media type belongs to another number."""
    n, digest, payload = content.split(b' ', 2)
    check(hashlib.sha256(payload).hexdigest() == digest.decode(), lambda: f'content {int(n)} is incomplete')
    check(media_type == f'audio/x-n{int(n)}', lambda: f'content {int(n)} has the media type {media_type}')
    return int(n)


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def digest(self) -> bytes:
        """The digest of the body. Fails if the answer declares a different one."""
        digest = hashlib.sha256(self.body).digest()
        told = self.headers.get('repr-digest')
        if told is not None:
            own = f'sha-256=:{base64.b64encode(digest).decode()}:'
            check(told == own, lambda: f'`repr-digest: {told}`, but the body has the digest {own}')
        return digest

    @property
    def error(self) -> dict[str, Any]:
        """The message of an error, which must be in the form that KAZOO shows."""
        check(self.headers['content-type'] == 'application/json', lambda: f'an error with the content-type {self.headers["content-type"]}')
        said = json.loads(self.body)
        check(said['status'] == self.status and said['error'] and said['message'], lambda: f'an error with the content {said}')
        return said


class Client:
    """One connection, opened on demand."""

    def __init__(self, port: int, timeout: float = 60):
        self.port, self.timeout = port, timeout
        self.socket: socket.socket | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.socket:
            self.socket.close()
            self.socket = None

    def send(self, data: bytes) -> None:
        if not self.socket:
            self.socket = socket.create_connection(('127.0.0.1', self.port), self.timeout)
        self.socket.sendall(data)

    def receive(self, method: str) -> Reply:
        assert self.socket
        response = http.client.HTTPResponse(self.socket, method=method)
        with response:
            response.begin()
            reply = Reply(response.status, response.headers, response.read())
            closes = response.will_close
        if closes:
            self.close()
        return reply

    def exchange(self, data: bytes, method: str) -> Reply:
        try:
            self.send(data)
            return self.receive(method)
        except BROKEN:
            self.close()
            raise

    def put(self, upload: Upload, junk: bool = False) -> Reply:
        return self.exchange(b''.join(upload.request(junk)), upload.method)

    def get(self, path: str) -> Reply:
        head = f'GET {MOUNT}/{path} HTTP/1.1\r\ncontent-length: 0\r\nte: \r\nhost: 127.0.0.1\r\nconnection: keep-alive\r\n\r\n'
        return self.exchange(head.encode(), 'GET')


class Server:
    """A running server. Must be started from the main thread, and ends with it."""

    def __init__(self, binary: str, root: str, *flags: str, prefix: tuple[str, ...] = ()):
        self.root = root
        command = ['setpriv', '--pdeathsig', 'KILL', *prefix, binary, 'serve', '--listen', '127.0.0.1:0', '--mount', MOUNT,
                   '--store', root, *flags]
        self.log = tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen(command, env=os.environ | {'RUST_LOG': 'error'}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        match = re.fullmatch(r'listening on http://127\.0\.0\.1:(\d+)\n', line)
        if not match:
            self.kill()
            raise Failed(f'the server said {line!r} instead of where it listens: {self.said()}')
        self.port = int(match[1])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    def threads(self) -> tuple[list[int], list[int]]:
        """The threads that serve requests and those that write to the disk. No request may be in progress.

        The latter wait for work with a timeout, on a futex.
        """
        found: tuple[list[int], list[int]] = [], []

        def idle() -> bool:
            tasks = list(pathlib.Path(f'/proc/{self.pid}/task').iterdir())
            waits = {int(task.name): (task / 'syscall').read_text().split() for task in tasks}
            if any(len(call) < 5 for call in waits.values()):
                return False
            of_disk = {thread for thread, call in waits.items() if call[0] in RESTART or call[0] in FUTEX and int(call[4], 16)}
            found[0][:], found[1][:] = sorted(set(waits) - of_disk), sorted(of_disk)
            return bool(of_disk)

        eventually('the server is idle', idle)
        return found

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()[-2000:].strip()

    def client(self, timeout: float = 60) -> Client:
        return Client(self.port, timeout)

    def lives(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        check(status == 0, lambda: f'the server exited with status {status}: {self.said()}')


class Webhook:
    """Accepts every event, after `receive` has got the headers, with names in lower case, and the body."""

    def __init__(self, receive: Callable[[dict[str, str], bytes], None]):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers['content-length']))
                receive({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{server.server_port}/'


class Thread(threading.Thread):
    """A thread that starts at once. `join` raises its exception."""

    def __init__(self, function: Callable[..., None], *arguments: object):
        super().__init__(daemon=True)
        self.function, self.arguments = function, arguments
        self.failure: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.function(*self.arguments)
        except Exception as failure:
            self.failure = failure

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        check(not self.is_alive(), 'a client hangs')
        if self.failure:
            raise self.failure


@contextlib.contextmanager
def traced(server: Server, trace: str, threads: list[int], *arguments: str) -> Iterator[None]:
    """Runs strace on these threads of a running server, with its output in the file `trace`.

    strace counts the calls of each thread separately, from here on.
    """
    command = ['strace', '-y', '-s', '64', '-o', trace, *arguments]
    for thread in threads:
        command += ['-p', str(thread)]
    strace = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    dies = False
    try:
        # The server may have been killed already.
        eventually('strace holds every thread', lambda: not server.lives() or all_traced(server.pid, strace, threads))
        yield
    except BROKEN:
        # strace hangs if it is asked to detach while the server is being killed.
        dies = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(5)
        raise
    finally:
        if not dies:
            strace.send_signal(signal.SIGINT)
        try:
            strace.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            strace.kill()
            strace.communicate()


def all_traced(pid: int, strace: subprocess.Popen[bytes], threads: list[int]) -> bool:
    if strace.poll() is not None:
        raise Failed(f'strace: {strace.communicate()[1].decode()}')
    try:
        tasks = [pathlib.Path(f'/proc/{pid}/task/{thread}/status').read_text() for thread in threads]
    except OSError:
        return False
    return all(f'TracerPid:\t{strace.pid}\n' in status for status in tasks)


def eventually(what: str, condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, f'{what}: not within {seconds} s')
        time.sleep(0.002)


def calls(trace: str) -> Iterator[tuple[str, str, str]]:
    """The completed system calls in order: name, arguments and result."""
    begun: dict[tuple[str, str], str] = {}
    for line in pathlib.Path(trace).read_text(errors='replace').splitlines():
        # strace does not name the thread if it traces only one.
        thread, call = re.fullmatch(r'(\d*) *(.*)', line).groups()
        if resumed := re.match(r'<\.\.\. (\w+) resumed>', call):
            call = begun.pop((thread, resumed[1]), '') + call[resumed.end():]
        elif '<unfinished' in call:
            if name := re.match(r'\w+', call):
                begun[thread, name[0]] = call.split('<unfinished')[0]
            continue
        if match := re.match(r'(\w+)\((.*?)\)?\s+= (.*)', call):
            yield match[1], match[2], match[3]
    # Calls during which the server was killed.
    for (_, name), call in begun.items():
        yield name, call.partition('(')[2], '?'


def staged(root: str) -> list[str]:
    """The entries of the staging directory, without the journal and the lock."""
    return sorted(name for name in os.listdir(f'{root}/.stage') if name not in ('lock', 'journal.0', 'journal.1'))


def stored(root: str, path: str) -> Kept | None:
    """The media and its sidecar, read from the disk as an operator would.

    Fails if the sidecar does not describe the media, or has no media. Only for a file that is not replaced meanwhile.
    """
    media = pathlib.Path(root, path)
    sidecar = media.with_name(f'.{media.name}.json')
    text = sidecar.read_text() if sidecar.exists() else None
    if not media.is_file():
        check(text is None, lambda: f'{path}: a sidecar without media')
        return None
    stat, content = media.stat(), media.read_bytes()
    entry: dict[str, Any] | None = {}
    if text is not None:
        # Objects stay text, as they were sent.
        version = f'{stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09}-{stat.st_size}'
        whole = json.loads(text)
        entry = next((entry for entry in (whole, whole.get('previous')) if entry and entry['version'] == version), None)
        check(entry is not None, lambda: f'{path}: the sidecar does not describe {version}: {text}')
    assert entry is not None
    digest = hashlib.sha256(content).digest()
    told = entry.get('sha256')
    check(told in (None, digest.hex()), lambda: f'{path}: the sidecar has the digest {told} for media with {digest.hex()}')
    metadata = json.dumps(entry['metadata']) if 'metadata' in entry else None
    return Kept(digest, entry.get('content_type', MEDIA_TYPES[media.suffix[1:]]), metadata)


def fetched(client: Client, path: str) -> tuple[bytes, str] | None:
    """The digest and the media type in the answer to a fetch."""
    reply = client.get(path)
    if reply.status == 404:
        return None
    check(reply.status == 200, lambda: f'{path}: {reply.status} {reply.body[:300]!r}')
    return reply.digest, reply.headers['content-type']


def found(client: Client, root: str, path: str) -> Kept | None:
    """The file at `path`, fetched and read from the disk. Both must agree."""
    kept, got = stored(root, path), fetched(client, path)
    check(got == (kept and kept[:2]), lambda: f'{path}: a fetch returns {got}, but the disk has {kept}')
    return kept


def venv(directory: str, packages: list[str]) -> pathlib.Path:
    """A virtual environment of Python in `directory`, with these packages of PyPI."""
    path = pathlib.Path(directory, 'venv')
    subprocess.run([sys.executable, '-m', 'venv', str(path)], check=True, stdout=sys.stderr)
    subprocess.run([f'{path}/bin/pip', 'install', '--quiet', '--disable-pip-version-check', *packages], check=True, stdout=sys.stderr)
    return path


def options(doc: str, prepare: Callable[[argparse.ArgumentParser], None]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('server', help='path to the program, `target/release/kazoo-storage`')
    parser.add_argument('--directory', help='where roots go; by default the directory for temporary files')
    prepare(parser)
    return parser.parse_args()


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Runs a script and reports its failure."""
    # Exits through the `with` blocks, which stop the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begun = time.monotonic()
    try:
        main(arguments)
    except Failed as error:
        fact(f'FAILED: {error}')
        return 1
    fact(f'passed in {time.monotonic() - begun:.0f} s')
    return 0
