#!/usr/bin/env python3
"""Proves that the statically linked server, and the container image of it, need nothing but themselves.

    tests/system/static.py target/packages/kazoo-storage-*-linux.tar.gz [target/packages/kazoo-storage-*-image.tar.gz]

Needs root, `unshare`, `setpriv` and `openssl`. The program runs as an ordinary user in a root directory that has nothing else: it stores and
fetches, answers `health` and `check`, and sends events to a webhook whose name a DNS server knows, whose name is in /etc/hosts, and whose
certificate is of a private authority, by `ca_file` or as one of the system's. The image runs with a read-only root, as its own user, with
the command of its configuration.
"""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import queue
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

PATH = '/some_prefix/ACCOUNT/202401-DOCUMENT/a.mp3'
USER = 65534
NAME = 'hooks.example.test'
TIMEOUT = 60
# Of the commands that start the server.
ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
# The data directory stays writable below the read-only root.
RUN = '''
mount --bind "$0" "$0" && mkdir -p "$0$1" && mount --bind "$2" "$0$1" && mount -o remount,bind,ro "$0" && shift 2 && root=$0 user=$1 && shift &&
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
'''


class Failed(Exception):
    pass


def check(condition: object, message: str) -> None:
    if not condition:
        raise Failed(message)


class Names(socketserver.BaseRequestHandler):
    """A DNS server that knows one name."""

    asked: set[str] = set()

    def handle(self) -> None:
        query, answers = self.request
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += query[at] + 1
        end = at + 5
        kind = struct.unpack('>H', query[at + 1:at + 3])[0]
        name = '.'.join(labels)
        self.asked.add(name)
        known = name == NAME
        record = b'\xc0\x0c' + struct.pack('>HHIH4s', 1, 1, 60, 4, socket.inet_aton('127.0.0.1')) if known and kind == 1 else b''
        flags = 0x8180 if known else 0x8183
        answers.sendto(query[:2] + struct.pack('>HHHHH', flags, 1, bool(record), 0, 0) + query[12:end] + record, self.client_address)


class Receiver(http.server.BaseHTTPRequestHandler):
    events: queue.Queue[tuple[str, str]] = queue.Queue()

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers['content-length'])))
        self.events.put((self.path, event['type']))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def alone() -> None:
    """Runs this script again in a network of its own, where port 53 is free and nothing outside can be reached."""
    if os.environ.get('ALONE'):
        return
    command = ['unshare', '--net', '--mount', sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, env={**os.environ, 'ALONE': '1'}).returncode)


def raise_loopback() -> None:
    import fcntl
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # SIOCSIFFLAGS with IFF_UP and IFF_RUNNING.
        fcntl.ioctl(any_socket, 0x8914, struct.pack('16sh14x', b'lo', 0x41))


def listening(server: socketserver.BaseServer) -> Any:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def certificate(directory: pathlib.Path) -> tuple[pathlib.Path, ssl.SSLContext]:
    """Creates an authority, and a certificate for the name. Returns the authority's, and the context of a server."""
    def openssl(*arguments: str) -> None:
        subprocess.run(['openssl', *arguments], cwd=directory, check=True, capture_output=True)
    key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    openssl('req', '-x509', *key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=authority', '-days', '2')
    openssl('req', *key, '-keyout', 'key.pem', '-out', 'request.pem', '-subj', f'/CN={NAME}')
    (directory / 'extensions').write_text(f'subjectAltName=DNS:{NAME},DNS:hosts.test\n')
    openssl('x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'cert.pem', '-days', '2',
            '-extfile', 'extensions')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / 'cert.pem', directory / 'key.pem')
    return directory / 'ca.pem', context


class Box:
    """A read-only root directory, its directory for data, and its user."""

    def __init__(self, root: pathlib.Path, data: pathlib.Path, user: str, state: str):
        self.root, self.data, self.user, self.state = root, data, user, state
        data.mkdir(exist_ok=True)
        os.chown(data, *(int(number) for number in user.split(':')))
        root.chmod(0o755)

    def command(self, *arguments: str) -> list[str | pathlib.Path]:
        return ['unshare', '--mount', 'sh', '-c', RUN, self.root, self.state, self.data, self.user, *arguments]

    def run(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(self.command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        check(done.returncode == status, f'{arguments} ended with {done.returncode}:\n{done.stdout}')
        return done.stdout

    @contextlib.contextmanager
    def server(self, *arguments: str) -> Iterator[int]:
        """Runs the server, and gives its port."""
        log = self.data.parent / f'{self.data.name}.log'
        with log.open('w') as errors:
            process = subprocess.Popen(self.command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            line = process.stdout.readline() if process.stdout else ''
            check(line.startswith('listening on '), f'the server does not start:\n{log.read_text()}')
            yield int(line.rsplit(':', 1)[1])
            process.terminate()
            check(process.wait(TIMEOUT) == 0, f'the server ended with {process.returncode}:\n{log.read_text()}')
        finally:
            process.kill()
            process.wait()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=TIMEOUT)
    connection.request(method, path, body, {'content-type': 'audio/mpeg'} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def unpack(archive: pathlib.Path, directory: pathlib.Path) -> None:
    directory.mkdir(exist_ok=True)
    subprocess.run(['tar', '--extract', '--numeric-owner', '--file', archive, '--directory', directory], check=True)


def test_program(archive: pathlib.Path, scratch: pathlib.Path) -> None:
    unpack(archive, scratch / 'archive')
    tree, = (scratch / 'archive').iterdir()
    for file in ['share/man/man1/kazoo-storage-serve.1', 'share/bash-completion/completions/kazoo-storage', 'lib/sysusers.d/kazoo-storage.conf',
                 'share/doc/kazoo-storage/THIRD-PARTY-LICENSES', 'share/doc/kazoo-storage/config.toml', 'lib/systemd/system/kazoo-storage.socket']:
        check((tree / file).is_file(), f'{file} is not in the archive')
    unit = (tree / 'lib/systemd/system/kazoo-storage.service').read_text()
    check('ExecStart=/usr/local/bin/kazoo-storage serve' in unit, 'the unit starts another program')
    program = tree / 'bin/kazoo-storage'
    bom = json.loads(archive.with_name(archive.name + '.cdx.json').read_text())
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    check(bom['metadata']['component']['hashes'] == [{'alg': 'SHA-256', 'content': digest}], 'the bill of materials is of another program')

    root = scratch / 'root'
    (root / 'etc/ssl/certs').mkdir(parents=True)
    shutil.copy(program, root)
    authority, context = certificate(scratch)
    shutil.copy(authority, root / 'ca.pem')
    shutil.copy(authority, root / 'etc/ssl/certs/ca-certificates.crt')
    (root / 'etc/resolv.conf').write_text('nameserver 127.0.0.1\n')
    (root / 'etc/hosts').write_text('127.0.0.1 localhost hosts.test\n')
    plain = listening(http.server.ThreadingHTTPServer(('127.0.0.1', 0), Receiver))
    encrypted = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Receiver)
    encrypted.socket = context.wrap_socket(encrypted.socket, server_side=True)
    listening(encrypted)
    listening(socketserver.ThreadingUDPServer(('127.0.0.1', 53), Names))
    webhooks = {
        '/dns': {'url': f'http://{NAME}:{plain.server_port}/dns'},
        '/hosts': {'url': f'http://hosts.test:{plain.server_port}/hosts'},
        '/file': {'url': f'https://{NAME}:{encrypted.server_port}/file', 'ca_file': '/ca.pem'},
        '/system': {'url': f'https://{NAME}:{encrypted.server_port}/system'},
    }
    entries = [{**hook, 'secret': 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'} for hook in webhooks.values()]
    (root / 'deliveries.json').write_text(json.dumps({'webhooks': entries}))
    (root / 'access.json').write_text('{"networks": ["127.0.0.0/8"]}')

    box = Box(root, scratch / 'data', f'{USER}:{USER}', '/data')
    print(box.run('/kazoo-storage', '--version').strip())
    with box.server('/kazoo-storage', 'serve', '--listen=127.0.0.1:0', '--admin=127.0.0.1:9180', '--store=/data', '--access=/access.json',
                    '--deliveries=/deliveries.json') as port:
        check(ask(port, 'PUT', PATH, b'ID3')[0] == 201, 'the upload was refused')
        check(ask(port, 'GET', PATH) == (200, b'ID3'), 'the fetch failed')
        waiting = set(webhooks)
        while waiting:
            try:
                path, _ = Receiver.events.get(timeout=TIMEOUT)
            except queue.Empty:
                raise Failed(f'no event came to {waiting}') from None
            waiting.discard(path)
        check(NAME in Names.asked, 'nobody asked the DNS server')
        box.run('/kazoo-storage', 'health', '--admin', '127.0.0.1:9180')
        box.run('/kazoo-storage', 'check', f'http://127.0.0.1:{port}/some_prefix')
        # Names work in the client's commands, too.
        box.run('/kazoo-storage', 'check', f'http://{NAME}:{port}/some_prefix')
    box.run('/kazoo-storage', 'scrub', '--store', '/data')
    print('the program needs nothing else: it served, and delivered by DNS, by /etc/hosts and by TLS')


def test_image(archive: pathlib.Path, scratch: pathlib.Path) -> None:
    image = scratch / 'image'
    unpack(archive, image)
    manifest, = json.loads((image / 'manifest.json').read_text())
    content = (image / manifest['Config']).read_bytes()
    check(manifest['Config'] == hashlib.sha256(content).hexdigest() + '.json', 'the configuration has another digest')
    layers = [image / layer for layer in manifest['Layers']]
    digests = ['sha256:' + hashlib.sha256(layer.read_bytes()).hexdigest() for layer in layers]
    description = json.loads(content)
    check(description['rootfs']['diff_ids'] == digests, 'the layers have other digests')
    config = description['config']
    check(config['User'] == '10001:10001', f'the user is {config["User"]}')
    check(config['Entrypoint'] == ['/usr/bin/kazoo-storage'] and config['Cmd'] == ['serve'], f'it runs {config["Entrypoint"]} {config["Cmd"]}')
    check(list(config['ExposedPorts']) == ['8080/tcp'], f'it exposes {config["ExposedPorts"]}')
    state, = config['Volumes']
    kind, *health = config['Healthcheck']['Test']
    check(kind == 'CMD', 'the health check needs a shell')

    root = scratch / 'image-root'
    for layer in layers:
        unpack(layer, root)
    owner = os.stat(f'{root}{state}')
    check(f'{owner.st_uid}:{owner.st_gid}' == config['User'], 'a new volume would belong to another user')
    others = [path for path in root.rglob('*') if path.stat().st_uid and str(path) != f'{root}{state}']
    check(not others, f'the user of the server owns {others}')
    check((root / 'etc/ssl/certs/ca-certificates.crt').stat().st_size > 50_000, 'the image has no certificates')
    bom = json.loads(archive.with_name(archive.name + '.cdx.json').read_text())
    digest = hashlib.sha256((root / 'usr/bin/kazoo-storage').read_bytes()).hexdigest()
    check(bom['metadata']['component']['hashes'] == [{'alg': 'SHA-256', 'content': digest}], 'the bill of materials is of another program')

    box = Box(root, scratch / 'volume', config['User'], state)
    start = [*config['Entrypoint'], *config['Cmd']]
    said = box.run(*start, status=2)
    check('/etc/kazoo-storage/access.json' in said, f'without access rules it says:\n{said}')
    box.run(*health, status=1)
    (root / 'etc/kazoo-storage/access.json').write_text('{"credentials": [{"token": "TOKEN"}]}')
    path = PATH.replace('/some_prefix', '/some_prefix/TOKEN')
    for _ in range(2):
        with box.server(*start) as port:
            check(port == 8080, f'it listens on port {port}')
            box.run(*health)
            check(ask(port, 'PUT', PATH, b'ID3')[0] == 401, 'an upload without a token was not refused')
            check(ask(port, 'PUT', path, b'ID3')[0] in (200, 201), 'the upload was refused')
            check(ask(port, 'GET', path) == (200, b'ID3'), 'the fetch failed')
            box.run(*config['Entrypoint'], 'check', f'http://127.0.0.1:{port}/some_prefix/TOKEN')
    print('the image serves with a read-only root, as its own user')


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('archive', type=pathlib.Path)
    arguments.add_argument('image', type=pathlib.Path, nargs='?')
    options = arguments.parse_args()
    alone()
    raise_loopback()
    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        scratch.chmod(0o755)
        test_program(options.archive, scratch)
        if options.image:
            test_image(options.image, scratch)


if __name__ == '__main__':
    try:
        main()
    except Failed as failure:
        sys.exit(f'FAILED: {failure}')
