#!/usr/bin/env python3
"""Proves that the server works within the restrictions of its systemd unit, packaging/systemd/kazoo-storage.service.

    tests/system/sandbox.py PATH_TO_THE_SERVER        needs root, strace, and systemd-analyze of Debian's systemd

The server runs as another user, without capabilities, on a file system that is read-only outside its directory. Each system call that
the unit does not permit fails with EPERM, and is reported. So is memory that is writable and executable, and a socket of another
family. Meanwhile the server stores, fetches, records and delivers files, reloads, reports to the service manager, and starts again.
"""
import argparse
import http.client
import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

UNIT = pathlib.Path(__file__).parents[2] / 'packaging/systemd/kazoo-storage.service'
USER = 65534
# Traced for their arguments.
WATCHED = {'mmap', 'mprotect', 'socket'}
SANDBOX = '''
mount --bind "$0" "$0" && mount -o remount,bind,ro / && cd "$0" &&
exec setpriv --reuid={user} --regid={user} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
'''


def values(key):
    """The values of a key of the unit, in order."""
    return re.findall(rf'^{key}=(.*)$', UNIT.read_text(), re.MULTILINE)


def group(name):
    """The system calls of a group of systemd."""
    listed = subprocess.run(['systemd-analyze', 'syscall-filter', name], check=True, capture_output=True, text=True).stdout
    found = set()
    for line in listed.splitlines()[1:]:
        call = line.strip()
        if call and not call.startswith('#'):
            found |= group(call) if call.startswith('@') else {call}
    return found


def permitted():
    """The system calls that the unit permits."""
    calls = group('@default')
    for value in values('SystemCallFilter'):
        named = set().union(*(group(name) for name in value.removeprefix('~').split()))
        calls = calls - named if value.startswith('~') else calls | named
    assert len(calls) > 200, calls
    # systemd itself starts the program.
    return calls | group('@default') | {'execve'}


class Receiver(http.server.BaseHTTPRequestHandler):
    events = queue.Queue()

    def do_POST(self):
        self.events.put(json.loads(self.rfile.read(int(self.headers['content-length']))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def run(server, directory, notify, calls, trace):
    """Starts the server. Returns the process, and the addresses of its ports."""
    # A name that this strace does not know is no error.
    allowed = ','.join(f'?{call}' for call in sorted(calls))
    untraced = ','.join(f'?{call}' for call in sorted(calls - WATCHED))
    command = ['unshare', '--mount', 'sh', '-c', SANDBOX.format(user=USER), directory,
               'strace', '-f', '-qq', '-o', trace, '-e', f'trace=!{untraced}', '-e', f'inject=!{allowed}:error=EPERM',
               server, 'serve', '--listen=127.0.0.1:0', '--admin=127.0.0.1:0', f'--store={directory}/store',
               f'--deliveries={directory}/deliveries.json', f'--access={directory}/access.json', '--grace=5']
    log = open(f'{directory}/log', 'w')
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True,
                               env={**os.environ, 'NOTIFY_SOCKET': notify, 'WATCHDOG_USEC': '600000'})
    line = process.stdout.readline()
    text = pathlib.Path(f'{directory}/log').read_text()
    assert line, text
    admin = re.search(r'admin endpoint started.* address=\S+:(\d+)', text)
    return process, int(line.rsplit(':', 1)[1]), int(admin[1])


def ask(port, method, path, body=None, kind='audio/mpeg'):
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    connection.request(method, path, body, {'content-type': kind})
    answer = connection.getresponse()
    return answer.status, answer.read()


def reported(manager, line):
    """Waits for a report with this line."""
    while line not in manager.recv(4096).decode().splitlines():
        pass


def send(process, number):
    """Sends a signal to the server, which is the child of strace."""
    for child in pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split():
        os.kill(int(child), number)


def work(round, port, admin, process, manager):
    """Uses what the server offers."""
    reported(manager, 'READY=1')
    reported(manager, 'WATCHDOG=1')
    multipart = (b'--B\r\ncontent-type: application/json\r\n\r\n{"id":"DOC"}\r\n'
                 b'--B\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--B--')
    files = {f'short-{round}': (b'ID3', 'audio/mpeg'), f'long-{round}': (os.urandom(3 << 20), 'audio/mpeg'),
             f'multi-{round}': (multipart, 'multipart/form-data; boundary=B')}
    for name, (body, kind) in files.items():
        path = f'/some_prefix/ACC/DOC/{name}.mp3'
        assert ask(port, 'PUT', path, body, kind)[0] == 201, name
        status, got = ask(port, 'GET', path)
        assert status == 200 and got == (b'ID3' if name.startswith('multi') else body), name
        Receiver.events.get(timeout=60)
    assert ask(admin, 'GET', '/readyz')[0] == 200
    assert b'process_resident_memory_bytes' in ask(admin, 'GET', '/metrics')[1]
    send(process, signal.SIGHUP)
    reported(manager, 'RELOADING=1')
    reported(manager, 'READY=1')


def violations(trace):
    """The lines of the trace that the unit forbids."""
    families = set(values('RestrictAddressFamilies')[0].split())
    for line in pathlib.Path(trace).read_text().splitlines():
        call = line.split(None, 1)[-1]
        family = re.match(r'socket\((AF_\w+)', call)
        if '(INJECTED)' in call or ('PROT_WRITE' in call and 'PROT_EXEC' in call) or re.match(r'mprotect\(.*PROT_EXEC', call):
            yield call
        # The C library tries it when it resolves a name, and works without.
        elif family and family[1] not in families | {'AF_NETLINK'}:
            yield call


def main(server):
    with tempfile.TemporaryDirectory() as directory:
        program = shutil.copy(server, f'{directory}/kazoo-storage')
        receiver = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Receiver)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        webhook = {'url': f'http://localhost:{receiver.server_port}/', 'secret': 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'}
        pathlib.Path(f'{directory}/deliveries.json').write_text(json.dumps({'webhooks': [webhook]}))
        pathlib.Path(f'{directory}/access.json').write_text('{"networks": ["127.0.0.0/8"]}')
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.settimeout(60)
        manager.bind(f'{directory}/notify')
        os.chmod(f'{directory}/notify', 0o666)
        os.chown(directory, USER, USER)
        calls, found, lines = permitted(), [], 0
        for round in range(2):
            trace = f'{directory}/trace-{round}'
            process, port, admin = run(program, directory, f'{directory}/notify', calls, trace)
            try:
                work(round, port, admin, process, manager)
                send(process, signal.SIGTERM)
                reported(manager, 'STOPPING=1')
                # strace ends as the server does.
                assert process.wait(60) == 0
            finally:
                if process.poll() is None:
                    send(process, signal.SIGKILL)
            found += violations(trace)
            lines += len(pathlib.Path(trace).read_text().splitlines())
        assert not found, '\n'.join(found)
        assert lines > 100, 'the trace is empty'
        print(f'{len(calls)} system calls are permitted; none of the others was called')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('server')
    main(parser.parse_args().server)
