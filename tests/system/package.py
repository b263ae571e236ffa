#!/usr/bin/env python3
"""Installs the Debian package in a fresh Debian as a newcomer does, upgrades it under load, and removes and purges it.

    tests/system/package.py PACKAGE.deb [--suite bookworm] [--mirror URL]        needs root, debootstrap, lintian

No systemd runs in that Debian, as in a container: the package must not need it. Nothing may ask a question. This script starts the server as
the units say, with a socket that outlives it. While a newer package is installed and the server restarts, uploads go on, and none is lost or
refused. The configuration that an operator has changed survives the upgrade, and the stored files survive a purge.
"""
from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

FILES = [
    'usr/bin/kazoo-storage',
    'usr/share/man/man1/kazoo-storage-serve.1.gz',
    'usr/share/man/man1/kazoo-storage-events-list.1.gz',
    'usr/share/man/man5/kazoo-storage.toml.5.gz',
    'usr/share/bash-completion/completions/kazoo-storage',
    'usr/share/zsh/vendor-completions/_kazoo-storage',
    'usr/share/fish/vendor_completions.d/kazoo-storage.fish',
    'usr/share/doc/kazoo-storage/copyright',
    'usr/share/doc/kazoo-storage/THIRD-PARTY-LICENSES.gz',
    'etc/kazoo-storage/config.toml',
]
CONFIG = 'etc/kazoo-storage/config.toml'
STATE = 'var/lib/kazoo-storage'


class Failed(Exception):
    pass


def check(condition: object, message: str) -> None:
    if not condition:
        raise Failed(message)


def run(*command: str | pathlib.Path, status: int = 0) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == status, f'{" ".join(map(str, command))} ended with {done.returncode}:\n{done.stdout}')
    return done.stdout


class Debian:
    def __init__(self, root: pathlib.Path):
        self.root = root

    def run(self, *command: str, status: int = 0) -> str:
        return run('chroot', self.root, 'env', 'DEBIAN_FRONTEND=noninteractive', *command, status=status)

    def install(self, package: pathlib.Path) -> None:
        (self.root / 'package.deb').write_bytes(package.read_bytes())
        # Without `--force-conf…`: dpkg would ask, and fail without a terminal.
        self.run('apt-get', 'install', '-y', '--no-install-recommends', './package.deb')

    def version(self) -> str:
        return self.run('dpkg-query', '--show', '--showformat', '${Version}', 'kazoo-storage')


def lint(package: pathlib.Path) -> None:
    print(run('lintian', '--fail-on', 'error', '--info', '--suppress-tags', 'initial-upload-closes-no-bugs', package))


def contents(debian: Debian, package: pathlib.Path) -> None:
    for file in FILES:
        check((debian.root / file).is_file(), f'/{file} is not in the package')
    check('kazoo-storage:x:' in (debian.root / 'etc/passwd').read_text(), 'the package creates no user')
    check('/usr/sbin/nologin' in debian.run('getent', 'passwd', 'kazoo-storage'), 'the user has a shell')
    conffiles = debian.run('dpkg-query', '--show', '--showformat', '${Conffiles}', 'kazoo-storage')
    check(f'/{CONFIG} ' in conffiles, 'the configuration is no conffile')
    for unit in ['kazoo-storage.service', 'kazoo-storage.socket']:
        check(any((debian.root / path / unit).is_file() for path in ['lib/systemd/system', 'usr/lib/systemd/system']), f'{unit} is missing')
    wanted = debian.root / 'etc/systemd/system/multi-user.target.wants/kazoo-storage.service'
    check(wanted.is_symlink(), 'the service does not start at boot')
    bom = json.loads(package.with_name(package.name + '.cdx.json').read_text())
    digest = hashlib.sha256((debian.root / 'usr/bin/kazoo-storage').read_bytes()).hexdigest()
    check(bom['metadata']['component']['hashes'] == [{'alg': 'SHA-256', 'content': digest}], 'the bill of materials is of another program')
    print(debian.run('kazoo-storage', '--version').strip())
    debian.run('kazoo-storage', 'config', 'check')


class Service:
    """The service of the package, run as its units say: as its user, in its directory, on a socket that stays open between two servers."""

    def __init__(self, debian: Debian):
        self.debian = debian
        self.unit = unit(debian, 'kazoo-storage.service')
        self.socket = socket.create_server(('0.0.0.0', 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        self.process: subprocess.Popen[Any] | None = None
        self.log = (debian.root / 'service.log').open('w')

    def start(self) -> None:
        """Returns when the server reports that it is ready."""
        check(self.unit['Type'] == 'notify', 'the unit does not wait for the server')
        user, directory = self.unit['User'], self.unit['WorkingDirectory']
        check(directory == f'/var/lib/{self.unit["StateDirectory"]}', f'the service starts in {directory}')
        self.debian.run('install', '-d', '-o', user, '-g', self.unit['Group'], '-m', self.unit['StateDirectoryMode'], directory)
        # /run of the real system is not that of the tree.
        notify = self.debian.root / 'run/notify'
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(notify))
            notify.chmod(0o777)
            manager.settimeout(60)
            # The number of the process is that of the shell.
            script = f'umask {self.unit["UMask"]} && exec 3<&0 </dev/null && export LISTEN_PID=$$ && exec "$@"'
            environment = {'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'kazoo-storage.socket', 'NOTIFY_SOCKET': '/run/notify',
                           'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
            command = ['sh', '-c', script, 'sh', 'chroot', f'--userspec={user}', '--groups=', self.debian.root,
                       'env', '--chdir', directory, *self.unit['ExecStart'].split()]
            self.process = subprocess.Popen(command, stdin=self.socket, stdout=subprocess.DEVNULL, stderr=self.log, env=environment)
            try:
                while 'READY=1' not in manager.recv(4096).decode().splitlines():
                    pass
            except TimeoutError:
                raise Failed(f'the server is not ready:\n{self.said()}') from None

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            status = self.process.wait(60)
            check(status == 0, f'the server ended with {status}:\n{self.said()}')
            self.process = None

    def said(self) -> str:
        return (self.debian.root / 'service.log').read_text()


class Uploads:
    """Clients that upload one file after another."""

    def __init__(self, port: int, base: str, clients: int = 4):
        self.port, self.base = port, base
        self.ends = threading.Event()
        self.stored: dict[str, bytes] = {}
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, client: int) -> None:
        number = 0
        while not self.ends.is_set():
            number += 1
            path, body = f'{self.base}/ACCOUNT/202401-DOCUMENT{client}/{number}.mp3', f'{client}-{number};'.encode() * 4000
            try:
                status, _ = ask(self.port, 'PUT', path, body)
            except (OSError, http.client.HTTPException) as error:
                status = repr(error)
            if status == 201:
                self.stored[path] = body
            else:
                self.failures.append(f'{path}: {status}')

    def wait_for(self, more: int) -> None:
        """Waits until so many more files are stored."""
        goal = len(self.stored) + more
        while len(self.stored) < goal and not self.failures:
            self.ends.wait(0.01)

    def end(self) -> None:
        self.ends.set()
        for thread in self.threads:
            thread.join()
        check(not self.failures, f'{len(self.failures)} uploads failed: {self.failures[:3]}')


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    try:
        connection.request(method, path, body, {'content-type': 'audio/mpeg'} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def unit(debian: Debian, name: str) -> dict[str, str]:
    """The keys of a unit of the package, each with its last value."""
    found = [debian.root / path / name for path in ['lib/systemd/system', 'usr/lib/systemd/system']]
    file = next(path for path in found if path.is_file())
    return dict(re.findall(r'^(\w+)=(.*)$', file.read_text(), re.MULTILINE))


def configure(debian: Debian, port: int) -> str:
    """Follows docs/run-the-server.md, with a token and a mount of the newcomer's own. Returns the path of KAZOO's URL."""
    token = secrets.token_hex(16)
    base = f'/voicemail/{token}'
    directory = debian.root / 'etc/kazoo-storage'
    (directory / 'access.json').write_text(json.dumps({'credentials': [{'token': token}]}))
    plan = debian.run('sh', '-c', f'kazoo-storage plan --url http://127.0.0.1:{port}{base} --multipart 2>/dev/null')
    (directory / 'storage.json').write_text(plan)
    debian.run('sh', '-c', 'chown root:kazoo-storage /etc/kazoo-storage/*.json && chmod 0640 /etc/kazoo-storage/*.json')
    config = (debian.root / CONFIG).read_text()
    for key, value in {'access': '/etc/kazoo-storage/access.json', 'settings': '/etc/kazoo-storage/storage.json', 'mount': '/voicemail'}.items():
        config, count = re.subn(rf'^#{key} = .*$', f'{key} = "{value}"', config, flags=re.MULTILINE)
        check(count == 1, f'the configuration shows no {key}')
    (debian.root / CONFIG).write_text(config)
    debian.run('kazoo-storage', 'config', 'check')
    return base


def upgrade_under_load(debian: Debian, service: Service, base: str, package: pathlib.Path) -> dict[str, bytes]:
    """Installs `package` and restarts the service while uploads run. Returns the uploads."""
    # KAZOO's plan says multipart, and the server takes plain bodies too.
    uploads = Uploads(service.port, base)
    try:
        uploads.wait_for(50)
        debian.install(package)
        for _ in range(3):
            uploads.wait_for(20)
            service.stop()
            service.start()
        uploads.wait_for(50)
    finally:
        uploads.end()
    return uploads.stored


def newer(package: pathlib.Path, scratch: pathlib.Path) -> pathlib.Path:
    """Returns the package with a higher version."""
    tree, result = scratch / 'newer', scratch / 'newer.deb'
    run('dpkg-deb', '--raw-extract', package, tree)
    control = (tree / 'DEBIAN/control').read_text()
    lines = [line + '+newer' if line.startswith('Version: ') else line for line in control.splitlines()]
    (tree / 'DEBIAN/control').write_text('\n'.join(lines) + '\n')
    run('dpkg-deb', '--root-owner-group', '--build', tree, result)
    return result


def remaining(debian: Debian) -> list[str]:
    return [str(path.relative_to(debian.root)) for directory in ['etc', 'usr', 'lib', 'var/lib/systemd'] if (debian.root / directory).is_dir()
            for path in (debian.root / directory).rglob('*kazoo-storage*')]


def test(package: pathlib.Path, debian: Debian, scratch: pathlib.Path) -> None:
    debian.install(package)
    contents(debian, package)
    service = Service(debian)
    base = configure(debian, service.port)
    config = (debian.root / CONFIG).read_text()
    service.start()
    try:
        print(debian.run('kazoo-storage', 'check', '--settings', '/etc/kazoo-storage/storage.json').strip())
        check(ask(service.port, 'PUT', '/voicemail/ACCOUNT/a.mp3', b'ID3')[0] == 401, 'an upload without the token was not refused')
        first = debian.version()
        stored = upgrade_under_load(debian, service, base, newer(package, scratch))
        check(debian.version() == first + '+newer', 'the package was not upgraded')
        check((debian.root / CONFIG).read_text() == config, 'the upgrade replaced the configuration')
        lost = [path for path, body in stored.items() if ask(service.port, 'GET', path) != (200, body)]
        check(not lost, f'{len(lost)} of {len(stored)} uploads are lost: {lost[:3]}')
        print(f'{len(stored)} uploads during the upgrade and 3 restarts: none was lost or refused')
    finally:
        service.stop()
    debian.run('apt-get', 'remove', '-y', 'kazoo-storage')
    check((debian.root / CONFIG).is_file(), 'the removal removed the configuration')
    debian.run('apt-get', 'purge', '-y', 'kazoo-storage')
    # What the operator wrote is the operator's.
    written = {path.name for path in (debian.root / 'etc/kazoo-storage').iterdir()}
    check(written == {'access.json', 'storage.json'}, f'the purge left {written} in /etc/kazoo-storage')
    left = [path for path in remaining(debian) if path != 'etc/kazoo-storage']
    check(not left, f'the purge left {left}')
    files = [path for path in (debian.root / STATE).rglob('*.mp3') if 'ACCOUNT' in path.parts]
    check(len(files) == len(stored), f'after the purge there are {len(files)} of {len(stored)} stored files')
    # It can come back, and finds its files.
    debian.install(package)
    debian.run('apt-get', 'purge', '-y', 'kazoo-storage')
    run('rm', '-r', debian.root / STATE)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('package', type=pathlib.Path)
    arguments.add_argument('--suite', default='bookworm')
    arguments.add_argument('--mirror', default='http://deb.debian.org/debian')
    options = arguments.parse_args()
    lint(options.package)
    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        root = scratch / 'root'
        run('debootstrap', '--variant=minbase', options.suite, root, options.mirror)
        test(options.package, Debian(root), scratch)
    print('the package installs, serves, upgrades and goes without a trace but what the operator wrote and stored')


if __name__ == '__main__':
    try:
        main()
    except Failed as failure:
        sys.exit(f'FAILED: {failure}')
