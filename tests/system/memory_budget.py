#!/usr/bin/env python3
"""Checks the memory of a release server against its budgets, each from a cold start.

    tests/system/memory_budget.py PATH_TO_THE_SERVER [--directory DIR]        Linux

Each case starts its own server, reads its resident memory before the first request (VmRSS), sends its requests, and compares
the peak (VmHWM). There is no warm-up, so the growth of the heap counts.
"""
from __future__ import annotations

import argparse
import base64
import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator

from rig import BOUNDARY, MEDIA_TYPE, MOUNT, Server, Thread, check, eventually, fact, options, run

MIB = 1 << 20
UPLOADS, SIZE = 64, 16 * MIB
# For 64 concurrent uploads of any form.
UPLOAD_BUDGET = 32
# For one upload with the longest metadata of any form: some copies of the text, three of them in the ledger's database, and the
# connection. Without a ledger, 14 MiB were measured.
METADATA_SIZE, METADATA_BUDGET = MIB - 100, 20
# For each of many connections with metadata of 1 MiB.
UNFINISHED, UNFINISHED_BUDGET = 64, 1.25
# For refused requests with targets of 60 KB, each for a different file.
REFUSED, REFUSED_BUDGET = 6_000, 16


def status(server: Server, field: str) -> float:
    with open(f'/proc/{server.pid}/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f'{field}:')) / 1024


@contextlib.contextmanager
def budget(arguments: argparse.Namespace, what: str, most: float, *flags: str) -> Iterator[Server]:
    """A new server whose memory must grow by at most `most` MiB."""
    with tempfile.TemporaryDirectory(dir=arguments.directory) as root, Server(arguments.server, root, *flags) as server:
        idle = status(server, 'VmRSS')
        yield server
        grown = status(server, 'VmHWM') - idle
        fact(f'{what}: {grown:.1f} MiB over {idle:.1f} MiB, budget {most} MiB')
        arguments.over += [what] if grown > most else []


def head(path: str, content_type: str, length: int) -> bytes:
    return (f'PUT {MOUNT}/ACC/DOC/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n'
            'connection: close\r\n\r\n').encode()


def part(content_type: str) -> bytes:
    return f'\r\n--{BOUNDARY}\r\ncontent-type: {content_type}\r\n\r\n'.encode()


MULTIPART = f'multipart/form-data; boundary={BOUNDARY}'
END = f'\r\n--{BOUNDARY}--'.encode()


def send(server: Server, pieces: list[bytes]) -> bytes:
    """Sends `pieces`, a complete request, and returns the answer."""
    with socket.create_connection(('127.0.0.1', server.port), 120) as client:
        for piece in pieces:
            client.sendall(piece)
        answer = b''
        while more := client.recv(65536):
            answer += more
        return answer


def upload(server: Server, name: str, form: str) -> None:
    chunk = bytes(range(256)) * 256
    chunks = [chunk] * (SIZE // len(chunk))
    if form == 'multipart':
        chunks = [part('application/json') + b'{"id":"DOC"}' + part(MEDIA_TYPE), *chunks, END]
    elif form == 'multipart+base64':
        # A multiple of three, so that the encoded pieces form one text.
        encoded = base64.b64encode(chunk[:-1])
        chunks = [part('application/json') + b'{"id":"DOC"}' + part(MEDIA_TYPE), *[encoded] * (SIZE // len(chunk)), END]
    content_type = MEDIA_TYPE if form == 'raw' else MULTIPART
    answer = send(server, [head(name, content_type, sum(map(len, chunks))), *chunks])
    check(answer.startswith(b'HTTP/1.1 201 '), lambda: f'{form}: {answer[:300]!r}')


def at_once(count: int, work: Callable[[int], None]) -> None:
    for thread in [Thread(work, n) for n in range(count)]:
        thread.join(300)


def uploads(arguments: argparse.Namespace) -> None:
    for form in ('raw', 'multipart', 'multipart+base64'):
        with budget(arguments, f'{UPLOADS} uploads of {SIZE // MIB} MiB at once, {form}', UPLOAD_BUDGET) as server:
            at_once(UPLOADS, lambda n: upload(server, f'{n}.mp3', form))


def fitting(before: str, repeated: Callable[[int], str], after: str) -> bytes:
    """An object of at most METADATA_SIZE bytes."""
    pieces, length, n = [before], len(before) + len(after), 0
    while (length := length + len(more := repeated(n))) <= METADATA_SIZE:
        pieces.append(more)
        n += 1
    return ''.join(pieces + [after]).encode()


def metadata(arguments: argparse.Namespace) -> None:
    half = METADATA_SIZE // 2 - 20
    shapes = {
        'objects': fitting('{"q":[{"":0}', lambda _: ',{"":0}', ']}'),
        'objects in `source_type`': fitting('{"source_type":[{"":0}', lambda _: ',{"":0}', ']}'),
        'names': fitting('{', lambda n: f'"{n}":0,', '"id":1}'),
        'depth': b'{"q":' + b'[' * half + b']' * half + b'}',
        'escapes': fitting('{"q":"', lambda _: '\\u00e9', '"}'),
        'white space': fitting('{}', lambda _: '\t\n', ''),
    }
    for shape, text in shapes.items():
        body = part('application/json') + text + part(MEDIA_TYPE) + b'ID3' + END
        # With `--admin`, the metrics of uploads depend on their metadata.
        with budget(arguments, f'an upload with metadata of 1 MiB, {shape}', METADATA_BUDGET, '--admin', '127.0.0.1:0') as server:
            answer = send(server, [head('a.mp3', MULTIPART, len(body)), body])
            check(answer.startswith(b'HTTP/1.1 201 '), lambda: f'{shape}: {answer[:300]!r}')


def unread(server: Server) -> int:
    """The number of bytes that the server has received but not read."""
    with open('/proc/net/tcp') as file:
        sockets = [line.split() for line in file.readlines()[1:]]
    return sum(int(fields[4].split(':')[1], 16) for fields in sockets if int(fields[1].split(':')[1], 16) == server.port)


def unfinished(arguments: argparse.Namespace) -> None:
    most = UNFINISHED * UNFINISHED_BUDGET + 16
    body = part('application/json') + b'{"' + b'x' * METADATA_SIZE
    with budget(arguments, f'{UNFINISHED} connections with unfinished metadata of 1 MiB', most) as server, contextlib.ExitStack() as stack:
        for n in range(UNFINISHED):
            client = stack.enter_context(socket.create_connection(('127.0.0.1', server.port), 60))
            client.sendall(head(f'{n}.mp3', MULTIPART, 2 * MIB) + body)
        eventually('all is read', lambda: unread(server) == 0)


def refused(arguments: argparse.Namespace) -> None:
    # A key is short. The query may be as long as the head.
    filler = 'x' * 1000 + '?' + 'q' * 58_000

    def refuse(first: int) -> None:
        with server.client() as client:
            for n in range(first, REFUSED, 8):
                reply = client.get(f'ACC/DOC/{n}/{filler}')
                check(reply.status == 503 and reply.headers['retry-after'] == '1', lambda: f'{reply}')

    def is_busy() -> bool:
        with server.client() as client:
            return client.get('ACC/DOC/x').status == 503

    with budget(arguments, f'{REFUSED} refused fetches with targets of 60 KB', REFUSED_BUDGET, '--max-requests', '1') as server, \
            socket.create_connection(('127.0.0.1', server.port), 60) as busy:
        # An upload that is not slow has the only permit.
        busy.sendall(head('busy.mp3', MEDIA_TYPE, 8 * MIB) + bytes(4 * MIB))
        eventually('the upload has its permit', is_busy)
        at_once(8, refuse)


def main(arguments: argparse.Namespace) -> None:
    arguments.over = []
    uploads(arguments)
    metadata(arguments)
    unfinished(arguments)
    refused(arguments)
    check(not arguments.over, lambda: f'over the budget: {"; ".join(arguments.over)}')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, lambda _: None)))
