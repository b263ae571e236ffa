#!/usr/bin/env python3
"""Installs, upgrades, removes and purges the Debian package in a fresh Debian, and runs its server there.

    tests/system/package.py PACKAGE.deb [--suite bookworm] [--mirror URL]        needs root, debootstrap, lintian

No systemd runs in that Debian, as in a container: the package must not need it. Nothing may ask a question. The configuration that an
operator has changed survives an upgrade, and the stored files survive a purge.
"""
from __future__ import annotations

import argparse
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

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


def contents(debian: Debian) -> None:
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
    print(debian.run('kazoo-storage', '--version').strip())
    debian.run('kazoo-storage', 'config', 'check')


def serve(debian: Debian) -> None:
    """Runs the server with the packaged configuration and its own user, as the unit does."""
    debian.run('install', '-d', '-o', 'kazoo-storage', '-g', 'kazoo-storage', '-m', '0750', f'/{STATE}')
    command = ['chroot', '--userspec=kazoo-storage', debian.root, '/usr/bin/kazoo-storage', 'serve']
    listen = free_port()
    server = subprocess.Popen([*command, '--listen', f'127.0.0.1:{listen}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = f'http://127.0.0.1:{listen}/some_prefix/0123456789abcdef0123456789abcdef/call_recording/a/b.mp3'
    try:
        for attempt in range(100):
            try:
                with urllib.request.urlopen(urllib.request.Request(url, data=b'a file', method='PUT'), timeout=5) as response:
                    check(response.status in (200, 201), f'the upload was answered with {response.status}')
                break
            except urllib.error.URLError as error:
                check(not isinstance(error, urllib.error.HTTPError), f'the upload was answered with {error}')
                check(server.poll() is None and attempt < 99, f'the server does not run: {error}')
                time.sleep(0.1)
        with urllib.request.urlopen(url, timeout=5) as response:
            check(response.read() == b'a file', 'the file is another one')
    finally:
        server.terminate()
        _, log = server.communicate(timeout=40)
    check(server.returncode == 0, f'the server ended with {server.returncode}:\n{log}')


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


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
    contents(debian)
    serve(debian)
    first = debian.version()
    with (debian.root / CONFIG).open('a') as config:
        config.write('mount = "/changed"\n')
    debian.install(newer(package, scratch))
    check(debian.version() == first + '+newer', 'the package was not upgraded')
    check('mount = "/changed"' in (debian.root / CONFIG).read_text(), 'the upgrade replaced the configuration')
    debian.run('apt-get', 'remove', '-y', 'kazoo-storage')
    check((debian.root / CONFIG).is_file(), 'the removal removed the configuration')
    debian.run('apt-get', 'purge', '-y', 'kazoo-storage')
    check(not remaining(debian), f'the purge left {remaining(debian)}')
    stored = list((debian.root / STATE).rglob('b.mp3*'))
    check(stored, 'the purge removed the stored files')
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
    print('the package installs, serves, upgrades and goes without a trace but the stored files')


if __name__ == '__main__':
    try:
        main()
    except Failed as failure:
        sys.exit(f'FAILED: {failure}')
