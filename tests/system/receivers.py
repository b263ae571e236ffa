#!/usr/bin/env python3
"""Proves that the receivers in docs/events.md work: runs the Python and the Erlang example, and sends them events.

    tests/system/receivers.py PATH_TO_THE_SERVER        needs Python's venv, PyPI, and Debian's erlang-base and erlang-crypto

Both accept every event of a server that signs with two secrets, and an event that a third receiver has recorded, if one of its
signatures is right. They refuse it without one of its headers, with another body, id, timestamp or signature, with a signature of
another secret, and if it is more than 5 minutes old or in the future. The Rust example is compiled by `cargo test`.
"""
from __future__ import annotations

import argparse
import base64
import contextlib
import hmac
import http.client
import json
import pathlib
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import IO

from rig import Server, Upload, Webhook, check, eventually, fact, media, options, run, venv

PAGE = pathlib.Path(__file__).parents[2] / 'docs/events.md'
PACKAGES = ['standardwebhooks==1.1.0']
# The secret of the examples, and one that they do not know.
SECRET, OTHER = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='
UPLOADS = 200

Request = tuple[dict[str, str], bytes]


class Example:
    """A running example, and what it prints."""

    def __init__(self, name: str, port: int, output: IO[str]):
        self.name, self.port = name, port
        self.lines: list[str] = []
        threading.Thread(target=lambda: self.lines.extend(iter(output.readline, '')), daemon=True).start()

    def keys(self) -> list[str]:
        """The keys of the files whose events it has accepted. The threads of the example in Python mix their lines."""
        return re.findall(r'ACC/[\w-]+/[\w-]+\.mp3', ''.join(self.lines))

    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}/kazoo'

    def status(self, headers: Mapping[str, str], body: bytes) -> int:
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request('POST', '/kazoo', body, dict(headers))
            return connection.getresponse().status


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryFile('w+') as log:
        running = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=log, text=True)
        try:
            yield running
        except BaseException:
            log.seek(0)
            print(f'{command[0]}: {log.read()[-3000:]}', file=sys.stderr)
            raise
        finally:
            running.kill()
            running.wait()


@contextlib.contextmanager
def python(directory: str) -> Iterator[Example]:
    source, port = example('python'), free_port()
    check('8090' in source, 'the example in Python does not listen on port 8090')
    path = pathlib.Path(directory, 'receiver.py')
    path.write_text(source.replace('8090', str(port)))
    with process(str(venv(directory, PACKAGES) / 'bin/python'), str(path)) as running:
        eventually('the example in Python listens', lambda: socket.socket().connect_ex(('127.0.0.1', port)) == 0)
        assert running.stdout
        yield Example('Python', port, running.stdout)


@contextlib.contextmanager
def erlang(directory: str) -> Iterator[Example]:
    path = pathlib.Path(directory, 'webhook.erl')
    path.write_text(example('erlang'))
    server = pathlib.Path(__file__).with_suffix('.erl')
    subprocess.run(['erlc', '-Wall', '-Werror', '-o', directory, str(path), str(server)], check=True)
    with process('erl', '-noshell', '-pa', directory, '-run', 'receivers', 'start', SECRET) as running:
        assert running.stdout
        yield Example('Erlang', int(running.stdout.readline()), running.stdout)


def example(language: str) -> str:
    """The only example of the page in `language`."""
    [source] = re.findall(rf'^```{language}\n(.*?)^```', PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return source


def free_port() -> int:
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def deliver(binary: str, directory: str, examples: list[Example]) -> Request:
    """Sends the events of uploads to the examples. Returns one of the requests."""
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    recorder = Webhook(lambda headers, body: requests.put((headers, body)))
    path = pathlib.Path(directory, 'deliveries.json')
    # During a rotation, the examples still have the older secret, or already the newer.
    webhooks = [{'name': one.name, 'url': one.url(), 'secrets': secrets}
                for one, secrets in zip(examples, [[OTHER, SECRET], [SECRET, OTHER]], strict=True)]
    path.write_text(json.dumps({'webhooks': [*webhooks, {'name': 'recorder', 'url': recorder.url, 'secret': SECRET, 'metadata': True}]}))
    keys = [f'ACC/202611-{n}/nachricht-{n}.mp3' for n in range(UPLOADS)]
    with Server(binary, f'{directory}/root', '--deliveries', str(path)) as server, server.client() as client:
        for n, key in enumerate(keys):
            metadata = json.dumps({'id': key, 'caller_id_name': 'Jörg Müßig ✆'}, ensure_ascii=False)
            reply = client.put(Upload(key, media(n, 1000), metadata, 'form-data'))
            check(reply.status == 201, f'{key}: {reply.status} {reply.body!r}')
        client.close()
        for one in examples:
            eventually(f'the example in {one.name} has the events', lambda one=one: len(one.keys()) >= UPLOADS)
            check(sorted(one.keys()) == sorted(keys), f'the example in {one.name} has other events')
        eventually('the recorder has the events', lambda: requests.qsize() == UPLOADS)
        server.stop()
    fact(f'both examples accepted {UPLOADS} events of a server with two secrets')
    return requests.get()


def sign(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    content = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.'.encode() + body
    digest = hmac.digest(base64.b64decode(secret.removeprefix('whsec_')), content, 'sha256')
    return f'v1,{base64.b64encode(digest).decode()}'


def authentic(request: Request) -> dict[str, Request]:
    headers, body = request
    signature = headers['webhook-signature']
    check(signature == sign(SECRET, headers, body), f'the server has signed with {signature}')
    signatures = {'as it was recorded': signature, 'with a signature of another version': f'v1a,{signature[3:]} {signature}',
                  'with a signature of another secret too': f'{sign(OTHER, headers, body)} {signature}'}
    requests = {how: (headers | {'webhook-signature': value}, body) for how, value in signatures.items()}
    return requests | {f'{seconds} seconds old': aged(request, seconds) for seconds in (-280, 280)}


def forged(request: Request) -> dict[str, Request]:
    headers, body = request
    requests = {f'without {name}': ({other: value for other, value in headers.items() if other != name}, body)
                for name in headers if name.startswith('webhook-')}
    requests |= {f'with another {name}': (headers | {name: value}, body) for name, value in {
        'webhook-id': headers['webhook-id'][:-1], 'webhook-timestamp': str(int(headers['webhook-timestamp']) + 1)}.items()}
    requests |= {f'with the {name} {value!r}': (headers | {name: value}, body) for name, values in {
        'webhook-id': [''], 'webhook-timestamp': ['', 'now', '1e9', '9' * 400],
        'webhook-signature': ['', 'v1', 'v1,', 'v1,=', 'v1,\xe4', ',', headers['webhook-signature'][3:],
                              f'v2{headers["webhook-signature"][2:]}', headers['webhook-signature'][:-2]],
    }.items() for value in values}
    requests['signed with another secret'] = (headers | {'webhook-signature': sign(OTHER, headers, body)}, body)
    requests |= {f'with another body, {how}': (headers, other) for how, other in {
        'a byte longer': body + b' ', 'a byte shorter': body[:-1], 'empty': b'',
        'altered': body.replace(b'"size":1000', b'"size":1001')}.items()}
    check(all(other != request for other in requests.values()), 'a forged request is the recorded one')
    return requests | {f'{seconds} seconds old': aged(request, seconds) for seconds in (-320, 320, 86_400)}


def aged(request: Request, seconds: int) -> Request:
    """The event as it was sent before this time, or in the future if that is negative."""
    headers, body = request
    headers = headers | {'webhook-timestamp': str(int(time.time()) - seconds)}
    return headers | {'webhook-signature': sign(SECRET, headers, body)}, body


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory, contextlib.ExitStack() as stack:
        examples = [stack.enter_context(start(directory)) for start in (python, erlang)]
        request = deliver(arguments.server, directory, examples)
        for one in examples:
            accepted, refused = authentic(request), forged(request)
            for requests, expected in ((accepted, 204), (refused, 401)):
                for how, (headers, body) in requests.items():
                    # Names as they are sent, and only those that the signature needs.
                    kept = {name: value for name, value in headers.items() if name.startswith('webhook-')}
                    status = one.status(kept, body)
                    check(status == expected, f'the example in {one.name} answered {status} to an event {how}')
            fact(f'{one.name}: {len(accepted)} forms of an authentic event accepted, {len(refused)} forged ones refused')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, lambda parser: None)))
