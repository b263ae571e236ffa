#!/usr/bin/env python3
"""Proves that every acknowledged upload reaches a queue of RabbitMQ, although the broker and the server are killed.

    tests/system/cluster/amqp.py PATH_TO_THE_SERVER [--rounds N] [--directory DIR]        needs what rabbitmq.py needs, Python's venv, and PyPI

In each round, clients store new files while the broker, the server or none of them is killed with SIGKILL. In the end the package
`pika` of PyPI receives the messages: every acknowledged upload is among them, with its digest, and each message is a persistent
CloudEvent whose routing key ends with the account.
"""
from __future__ import annotations

import argparse
import glob
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

sys.path.append(str(pathlib.Path(__file__).parent.parent))

from rabbitmq import RabbitMq
from rig import BROKEN, Client, Failed, Server, Thread, Upload, check, fact, media, options, run

CLIENTS = 4
EXCHANGE = 'storage_events'
QUEUE = 'crm'
# Maximum time without a new message at the end, in seconds: it exceeds the back-off of the receiver.
QUIET = 120


class Uploads:
    """The acknowledged uploads: digests by key."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        self.stop = threading.Event()

    def work(self, port: int, name: str) -> None:
        with Client(port) as client:
            count = 0
            while not self.stop.is_set():
                count += 1
                key = f'ACC{count % 3}/202611-{name}-{count}/message.mp3'
                content = media(key, 300)
                try:
                    reply = client.put(Upload(key, content))
                except BROKEN:
                    return
                check(reply.status == 201, f'{key}: {reply.status} {reply.body!r}')
                self.acknowledged[key] = hashlib.sha256(content).hexdigest()
                time.sleep(0.02)


def client(directory: str, broker: RabbitMq) -> Any:
    """Returns a function that connects with `pika`."""
    venv = f'{directory}/venv'
    subprocess.run([sys.executable, '-m', 'venv', venv], check=True, stdout=sys.stderr)
    subprocess.run([f'{venv}/bin/pip', 'install', '--quiet', '--disable-pip-version-check', 'pika==1.3.2'], check=True, stdout=sys.stderr)
    sys.path += glob.glob(f'{venv}/lib/python*/site-packages')
    import pika

    return lambda: pika.BlockingConnection(pika.URLParameters(broker.url))


def receive(connect: Any, expected: dict[str, str]) -> tuple[int, int]:
    """Receives messages until every expected upload has arrived. Returns the number of messages and that of ids."""
    missing, ids, count = dict(expected), set(), 0
    connection = connect()
    channel = connection.channel()
    for method, properties, body in channel.consume(QUEUE, auto_ack=True, inactivity_timeout=QUIET):
        if method is None:
            raise Failed(f'{len(missing)} acknowledged uploads are not delivered, such as {min(missing)}')
        event = json.loads(body)
        data = event['data']
        key = f'{event["type"]}.{data["account"]}'
        check(method.routing_key == key, f'the routing key is {method.routing_key}, not {key}')
        found = (properties.message_id, properties.type, properties.content_type, properties.delivery_mode)
        check(found == (event['id'], event['type'], 'application/cloudevents+json', 2), f'the properties are {found}')
        check(abs(properties.timestamp - time.time()) < 3600, f'the timestamp is {properties.timestamp}')
        check(event['type'] == 'kazoo_storage.file.stored', f'the type is {event["type"]}')
        digest = missing.pop(data['key'], data['sha256'])
        check(digest == data['sha256'], f'{data["key"]}: the digest is {data["sha256"]}')
        ids.add(event['id'])
        count += 1
        if not missing:
            break
    connection.close()
    return count, len(ids)


def refuses(arguments: argparse.Namespace, root: str, deliveries: pathlib.Path) -> None:
    """The server does not start with an invalid URL, and does not show the password."""
    deliveries.write_text(json.dumps({'amqp': [{'url': 'amqp://kazoo:hunter2@localhost/?heartbeat=never'}]}))
    command = [arguments.server, 'serve', '--listen', '127.0.0.1:0', '--store', root, '--deliveries', str(deliveries)]
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 2 and 'amqp 1: `url`: ' in done.stderr, f'status {done.returncode}: {done.stderr}')
    check('hunter2' not in done.stderr, f'the password is shown: {done.stderr}')


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory, RabbitMq() as broker:
        root, deliveries = f'{directory}/root', pathlib.Path(directory, 'deliveries.json')
        refuses(arguments, root, deliveries)
        connect = client(directory, broker)
        with connect() as connection:
            channel = connection.channel()
            channel.exchange_declare(EXCHANGE, 'topic', durable=True)
            channel.queue_declare(QUEUE, durable=True)
            channel.queue_bind(QUEUE, EXCHANGE, 'kazoo_storage.file.stored.*')
        receiver = {'url': broker.url, 'exchange': EXCHANGE, 'name': 'mq', 'timeout': '2s', 'events': ['file.stored']}
        deliveries.write_text(json.dumps({'amqp': [receiver]}))
        uploads = Uploads()
        for turn in range(arguments.rounds):
            uploads.stop.clear()
            server = Server(arguments.server, root, '--deliveries', str(deliveries))
            threads = [Thread(uploads.work, server.port, f'{turn}-{name}') for name in range(CLIENTS)]
            time.sleep(random.uniform(1, 3))
            if turn % 3 == 0:
                broker.kill()
                time.sleep(random.uniform(0, 2))
                broker.start()
            if turn % 3 == 1:
                server.kill()
            uploads.stop.set()
            for thread in threads:
                thread.join(60)
            if turn % 3 != 1:
                server.stop()
            check(broker.password not in server.said(), 'the log has the password')
        with Server(arguments.server, root, '--deliveries', str(deliveries)) as server:
            count, ids = receive(connect, uploads.acknowledged)
            server.stop()
    check(len(uploads.acknowledged) > 10 * arguments.rounds, f'only {len(uploads.acknowledged)} uploads were acknowledged')
    fact(f'{arguments.rounds} rounds: {len(uploads.acknowledged)} acknowledged uploads have all arrived, and {count - ids} messages again')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, lambda parser: parser.add_argument(
        '--rounds', type=int, default=6, help='how often the broker or the server is killed (default: 6)'))))
