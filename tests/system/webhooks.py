#!/usr/bin/env python3
"""Proves that every acknowledged upload is delivered to a webhook, through kills of the server and failures of the receiver.

    tests/system/webhooks.py PATH_TO_THE_SERVER [--rounds N] [--directory DIR]        needs Python's venv, and PyPI

In each round, 16 clients store new files, and each also replaces a file of its own, while the server reloads its webhooks, and until
it is killed with SIGKILL at a random moment. The receiver answers 200, answers 500, does not answer, or is not there, in turn. The
packages `standardwebhooks` and `cloudevents` of PyPI verify each request. In the end every acknowledged upload has been accepted with
its digest, no event was about a file that was not there, and the events of each file came in order.
"""
from __future__ import annotations

import argparse
import collections
import hashlib
import http.server
import itertools
import json
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
from typing import Any

from rig import BROKEN, MOUNT, Client, Failed, Server, Thread, Upload, check, fact, media, options, run, venv

PACKAGES = ['standardwebhooks==1.1.0', 'cloudevents==2.2.0']
# Both sign each event, as during a rotation.
SECRETS = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=']
CLIENTS = 16
MODES = ['accepts', 'fails', 'hangs', 'is dead']
# Time limit of the server for an answer, in seconds.
TIMEOUT = 1
# Maximum time without a new delivery at the end: it exceeds the back-off of an event that has failed in several rounds.
QUIET = 180


class Receiver:
    """Verifies what arrives, and answers as its mode says."""

    def __init__(self, root: str, oracle: Any):
        self.root, self.oracle = pathlib.Path(root), oracle
        self.lock = threading.Lock()
        self.mode = 'accepts'
        # The number of each upload of a file, by its digest; set before it is sent.
        self.sent: dict[str, dict[str, int]] = collections.defaultdict(dict)
        self.latest: dict[str, int] = {}
        self.accepted: set[tuple[str, str]] = set()
        self.ids: collections.Counter[str] = collections.Counter()
        self.attempts: collections.Counter[str] = collections.Counter()
        self.failure: Exception | None = None
        self.port = 0
        self.server: http.server.ThreadingHTTPServer | None = None
        self.set('accepts')

    def set(self, mode: str) -> None:
        self.mode = mode
        if mode == 'is dead':
            if self.server:
                self.server.shutdown()
                self.server.server_close()
                self.server = None
        elif not self.server:
            handler = type('Handler', (Handler,), {'receiver': self})
            self.server = http.server.ThreadingHTTPServer(('127.0.0.1', self.port), handler)
            self.port = self.server.server_port
            threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self, headers: dict[str, str], body: bytes) -> bool:
        """Verifies an event. Returns `True` if it is accepted."""
        mode = self.mode
        event = self.oracle(headers, body)
        data = event['data']
        key, digest = data['key'], data['sha256']
        check(event['subject'] == key, f'{key}: the subject is {event["subject"]}')
        check((self.root / key).is_file(), f'{key}: an event for a file that is not there')
        with self.lock:
            check(digest in self.sent[key], f'{key}: an event with a digest that nobody has sent')
            n = self.sent[key][digest]
            check(n >= self.latest.get(key, 0), f'{key}: the event of upload {n} after that of {self.latest.get(key)}')
            self.latest[key] = n
            self.attempts[mode] += 1
            if mode == 'accepts':
                self.accepted.add((key, digest))
                self.ids[event['id']] += 1
        return mode == 'accepts'


class Handler(http.server.BaseHTTPRequestHandler):
    receiver: Receiver
    protocol_version = 'HTTP/1.1'

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(int(self.headers['content-length']))
            accepts = self.receiver.receive({name.lower(): value for name, value in self.headers.items()}, body)
        except BROKEN:
            # The server was killed.
            self.close_connection = True
            return
        except Exception as failure:
            self.receiver.failure = self.receiver.failure or failure
            accepts = False
        if not accepts and self.receiver.mode == 'hangs':
            time.sleep(TIMEOUT + 0.5)
            self.close_connection = True
            return
        self.send_response(200 if accepts else 500)
        self.send_header('content-length', '0')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except BROKEN:
            pass


class Uploader:
    """Stores new files, and replaces one, until the server is killed."""

    def __init__(self, name: int, receiver: Receiver):
        self.name, self.receiver = name, receiver
        self.count = 0
        self.acknowledged: list[tuple[str, str]] = []

    def work(self, port: int) -> None:
        with Client(port) as client:
            while True:
                self.count += 1
                document = f'202611-replaced-{self.name}' if self.count % 10 == 0 else f'202611-{self.name}-{self.count}'
                key = f'ACC{self.name % 5}/{document}/message.mp3'
                content = media(f'{self.name} {self.count}', random.choice([300, 20_000, 100_000]))
                digest = hashlib.sha256(content).hexdigest()
                with self.receiver.lock:
                    self.receiver.sent[key][digest] = self.count
                try:
                    reply = client.put(Upload(key, content))
                except BROKEN:
                    return
                check(reply.status == 201, f'{MOUNT}/{key}: {reply.status} {reply.body!r}')
                self.acknowledged.append((key, digest))
                # What the receiver accepts in a round is about what the clients store in four.
                time.sleep(0.05)


def oracle(directory: str) -> Any:
    """Returns a function that verifies the headers and the body of a request, and returns the event."""
    sys.path += map(str, venv(directory, PACKAGES).glob('lib/python*/site-packages'))
    from cloudevents.core.bindings.http import HTTPMessage, from_http_event
    from standardwebhooks.webhooks import Webhook

    webhooks = [Webhook(secret) for secret in SECRETS]

    def verify(headers: dict[str, str], body: bytes) -> dict[str, Any]:
        for webhook in webhooks:
            webhook.verify(body, headers)
        parsed = from_http_event(HTTPMessage(headers, body))
        check(parsed.get_specversion() == '1.0', f'the specversion is {parsed.get_specversion()}')
        check(parsed.get_id() == headers['webhook-id'], f'the event {parsed.get_id()} has the header {headers["webhook-id"]}')
        check(parsed.get_type() in ('kazoo_storage.file.stored', 'kazoo_storage.file.replaced'), f'the type is {parsed.get_type()}')
        data = parsed.get_data()
        return {'id': parsed.get_id(), 'subject': parsed.get_subject(), 'data': data if isinstance(data, dict) else json.loads(data)}

    return verify


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root = f'{directory}/root'
        receiver = Receiver(root, oracle(directory))
        deliveries = pathlib.Path(directory, 'deliveries.json')
        webhook = {'name': 'oracle', 'url': f'http://127.0.0.1:{receiver.port}/', 'secrets': SECRETS, 'timeout': f'{TIMEOUT}s'}
        deliveries.write_text(json.dumps({'webhooks': [webhook]}))
        uploaders = [Uploader(name, receiver) for name in range(CLIENTS)]
        for turn, mode in zip(range(arguments.rounds), itertools.cycle(MODES)):
            receiver.set(mode)
            server = Server(arguments.server, root, '--deliveries', str(deliveries))
            threads = [Thread(uploader.work, server.port) for uploader in uploaders]
            time.sleep(random.uniform(0.05, 0.5))
            # Reads the webhooks again, with events in flight.
            server.process.send_signal(signal.SIGHUP)
            time.sleep(random.uniform(0.05, 0.5))
            server.kill()
            for thread in threads:
                thread.join(60)
            if receiver.failure:
                raise receiver.failure
        receiver.set('accepts')
        expected = {upload for uploader in uploaders for upload in uploader.acknowledged}
        with Server(arguments.server, root, '--deliveries', str(deliveries)) as server:
            drain(receiver, expected)
            server.stop()
    repeats = sum(count - 1 for count in receiver.ids.values())
    attempts = ', '.join(f'{count} while the receiver {mode}' for mode, count in receiver.attempts.items())
    fact(f'{arguments.rounds} rounds: {len(expected)} acknowledged uploads were all delivered; {len(receiver.accepted - expected)} others '
         f'too, and {repeats} events again; attempts: {attempts}')


def drain(receiver: Receiver, expected: set[tuple[str, str]]) -> None:
    """Waits until all uploads are delivered."""
    missing, since = expected - receiver.accepted, time.monotonic()
    while missing:
        if receiver.failure:
            raise receiver.failure
        time.sleep(0.1)
        left = expected - receiver.accepted
        if len(left) < len(missing):
            since = time.monotonic()
        missing = left
        if time.monotonic() - since > QUIET:
            raise Failed(f'{len(missing)} acknowledged uploads are not delivered, such as {min(missing)}')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, lambda parser: parser.add_argument(
        '--rounds', type=int, default=500, help='how often the server is killed (default: 500)'))))
