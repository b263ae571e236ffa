#!/usr/bin/env python3
"""A RabbitMQ on loopback.

    python3 tests/system/cluster/rabbitmq.py -- COMMAND...        runs COMMAND against it, and exits with its status

COMMAND receives the URL in KAZOO_STORAGE_TEST_RABBITMQ, of a user that may do everything, the port for TLS in
KAZOO_STORAGE_TEST_RABBITMQ_TLS, and the authority of its certificate in KAZOO_STORAGE_TEST_RABBITMQ_CA. A line sent to the address in
KAZOO_STORAGE_TEST_RABBITMQ_CONTROL is a command: `kill`, `start`, or arguments of `rabbitmqctl`. The answer is `done`, or an error.

Needs Debian's openssl. Debian's packages of RabbitMQ and Erlang are downloaded and unpacked, not installed, because they would start
a server. Everything is in a temporary directory and on free ports of loopback, so several can run at once.
"""
from __future__ import annotations

import argparse
import functools
import glob
import os
import pathlib
import secrets
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading

from loopback import Failed, await_start, certify, free_ports

CONFIG = '''
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {directory}/ca.pem
ssl_options.certfile = {directory}/server.pem
ssl_options.keyfile = {directory}/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
default_user = kazoo
default_pass = {password}
disk_free_limit.absolute = 10MB
log.file = false
log.console = true
log.console.level = info
'''

# Starts Erlang from a directory that is not its own.
ERL = '''#!/bin/sh
export ROOTDIR={root} BINDIR={erts}/bin EMU=beam PROGNAME=erl
exec {erts}/bin/erlexec "$@"
'''


class RabbitMq:
    """One server with the user `kazoo` and its password. What it has confirmed survives `kill`."""

    def __init__(self) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='kazoo-storage-rabbitmq-'))
        self.password = secrets.token_hex(10)
        self.port, self.tls_port, self.epmd_port, self.node_port = free_ports(4)
        self.url = f'amqp://kazoo:{self.password}@127.0.0.1:{self.port}'
        self.epmd: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RabbitMq:
        try:
            self._create()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with open(self.directory / 'log', 'ab') as log:
            # Without `exec`, the script would stay as a parent that stops the server at its own pace.
            self.process = subprocess.Popen([self._script('rabbitmq-server')], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.environment | {'detached': '1'}, cwd=self.directory,
                                            start_new_session=True)
        await_start('RabbitMQ', self.process, self.directory / 'log', self._is_listening, 120)

    def kill(self) -> None:
        """Ends the server at once, as a power failure does, but the page cache stays."""
        if self.process is None or self.process.poll() is not None:
            return
        # Helpers of Erlang, such as `erl_child_setup`, end with it.
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        if self.epmd:
            self.epmd.kill()
            self.epmd.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def control(self, *arguments: str) -> None:
        done = subprocess.run([self._script('rabbitmqctl'), '--quiet', *arguments], env=self.environment, cwd=self.directory,
                              capture_output=True, text=True)
        if done.returncode:
            raise Failed(f'rabbitmqctl {arguments[0]}: {done.stderr or done.stdout}')

    def _create(self) -> None:
        root = self._unpack()
        (erts,) = glob.glob(f'{root}/usr/lib/erlang/erts-*')
        binaries = self.directory / 'bin'
        binaries.mkdir()
        erl = binaries / 'erl'
        erl.write_text(ERL.format(root=f'{root}/usr/lib/erlang', erts=erts))
        erl.chmod(0o755)
        (home,) = glob.glob(f'{root}/usr/lib/rabbitmq/lib/rabbitmq_server-*')
        self.home = home
        certify(functools.partial(self._run, self.directory))
        config = self.directory / 'rabbitmq.conf'
        config.write_text(CONFIG.format(port=self.port, tls_port=self.tls_port, directory=self.directory, password=self.password))
        plugins = self.directory / 'enabled_plugins'
        plugins.write_text('[].\n')
        loopback = '-kernel inet_dist_use_interface {127,0,0,1}'
        self.environment = {
            'PATH': f'{binaries}:{os.environ["PATH"]}',
            'HOME': str(self.directory),
            'LANG': 'C.UTF-8',
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            'ERL_EPMD_PORT': str(self.epmd_port),
            'RABBITMQ_NODENAME': 'rabbit@localhost',
            'RABBITMQ_DIST_PORT': str(self.node_port),
            'RABBITMQ_BASE': str(self.directory),
            'RABBITMQ_CONF_ENV_FILE': str(self.directory / 'absent.conf'),
            'RABBITMQ_CONFIG_FILE': str(config),
            'RABBITMQ_ADVANCED_CONFIG_FILE': str(self.directory / 'absent.config'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(plugins),
            'RABBITMQ_GENERATED_CONFIG_DIR': str(self.directory / 'generated'),
            'RABBITMQ_LOG_BASE': str(self.directory),
            'RABBITMQ_MNESIA_BASE': str(self.directory / 'data'),
            'RABBITMQ_PID_FILE': str(self.directory / 'pid'),
            'RABBITMQ_PLUGINS_DIR': f'{home}/plugins',
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': f'-start_epmd false {loopback}',
        }
        # Started here, so that it ends here: Erlang would leave one in the background.
        self.epmd = subprocess.Popen([f'{erts}/bin/epmd', '-port', str(self.epmd_port), '-address', '127.0.0.1'],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def _unpack(self) -> pathlib.Path:
        """Downloads RabbitMQ and what it needs, and unpacks it. Nothing is installed."""
        packages, root = self.directory / 'packages', self.directory / 'root'
        packages.mkdir()
        listed = self._run(packages, 'apt-cache', 'depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks',
                           '--no-replaces', '--no-enhances', 'rabbitmq-server')
        # The libraries that Erlang needs are those of any system.
        names = {line for line in listed.split() if line.startswith(('erlang-', 'rabbitmq-'))}
        self._run(packages, 'apt-get', 'download', '--quiet', '-o', 'APT::Sandbox::User=root', *sorted(names))
        archives = sorted(packages.glob('*.deb'))
        for archive in archives:
            subprocess.run(['dpkg', '-x', archive, root], check=True)
        shutil.rmtree(packages)
        return root

    @staticmethod
    def _run(directory: pathlib.Path, *command: str) -> str:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f'{command[0]} {command[1]}: {done.stderr or done.stdout}')
        return done.stdout

    def _script(self, name: str) -> str:
        return f'{self.home}/sbin/{name}'

    def _is_listening(self) -> bool:
        for port in (self.port, self.tls_port):
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', port)):
                    return False
        return True


class Control(socketserver.StreamRequestHandler):
    """Obeys one command."""

    broker: RabbitMq

    def handle(self) -> None:
        command = self.rfile.readline().decode().split()
        answer = 'done'
        try:
            match command:
                case ['kill']:
                    self.broker.kill()
                case ['start']:
                    self.broker.start()
                case arguments:
                    self.broker.control(*arguments)
        except Failed as failure:
            answer = ' '.join(str(failure).split())
        self.wfile.write(f'{answer}\n'.encode())


def main() -> int:
    parser = argparse.ArgumentParser(usage='rabbitmq.py -- COMMAND...')
    parser.add_argument('command', nargs='+')
    options = parser.parse_args()
    # Exits through `with`, which stops the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with RabbitMq() as broker, socketserver.TCPServer(('127.0.0.1', 0), type('Handler', (Control,), {'broker': broker})) as control:
        threading.Thread(target=control.serve_forever, daemon=True).start()
        environment = os.environ | {
            'KAZOO_STORAGE_TEST_RABBITMQ': broker.url,
            'KAZOO_STORAGE_TEST_RABBITMQ_TLS': str(broker.tls_port),
            'KAZOO_STORAGE_TEST_RABBITMQ_CA': str(broker.directory / 'ca.pem'),
            'KAZOO_STORAGE_TEST_RABBITMQ_CONTROL': f'127.0.0.1:{control.server_address[1]}',
        }
        try:
            return subprocess.run(options.command, env=environment).returncode
        finally:
            control.shutdown()


if __name__ == '__main__':
    sys.exit(main())
