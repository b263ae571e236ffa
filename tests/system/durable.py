#!/usr/bin/env python3
"""Proves with strace that a 201 follows, in order, the syncs, creations and renames that make an upload durable and visible.

    tests/system/durable.py PATH_TO_THE_SERVER        needs strace

Uploads of each form are sent to a server under strace. Its system calls are compared with the order that `FsStore`
and the ledger promise.
"""
import argparse
import re
import socket
import subprocess
import tempfile
import time

TRACED = 'openat,fsync,fdatasync,rename,renameat,renameat2,linkat,sendto,sendmsg,write,writev'
BOUNDARY = 'B'
PLAIN = ('audio/mpeg', b'ID3 plain')
LONG = ('audio/mpeg', bytes(100_000))
MULTIPART = (f'multipart/form-data; boundary={BOUNDARY}',
             b'\r\n--B\r\ncontent-type: application/json\r\n\r\n{"id":"DOC"}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--B--')


def upload(port, document, content_type, body):
    with socket.create_connection(('127.0.0.1', port), timeout=30) as s:
        head = f'PUT /some_prefix/ACC/{document}/message.mp3 HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n' \
               f'content-length: {len(body)}\r\n\r\n'
        s.sendall(head.encode() + body)
        answer = s.recv(4096)
    assert answer.startswith(b'HTTP/1.1 201 '), answer


def lines(path):
    """The complete lines of a file that is being written."""
    text = open(path).read()
    return text[:text.rfind('\n') + 1]


def calls(trace):
    """The completed system calls in order: name and arguments."""
    begun = {}
    for line in trace.splitlines():
        pid, _, call = line.partition(' ')
        if resumed := re.match(r'\s*<\.\.\. (\w+) resumed>', call):
            call = begun.pop((pid, resumed[1]), '') + call[resumed.end():]
        elif '<unfinished' in call:
            name = re.match(r'\s*(\w+)\(', call)
            begun[(pid, name[1])] = call.split('<unfinished')[0]
            continue
        if match := re.match(r'\s*(\w+)\((.*)\)\s+= \d+', call):
            yield match[1], match[2]


def steps(trace, root):
    """The steps of one upload, with the file or directory of each, relative to the root."""
    relative = lambda path: path.removeprefix(root).lstrip('/') or '.'
    found = []
    for name, arguments in calls(trace):
        paths = [relative(path) for path in re.findall(r'<(/[^>]*)>', arguments)]
        if name in ('fsync', 'fdatasync'):
            path = re.sub(r'^\.stage/journal\.[01]$', 'the journal', paths[0])
            path = re.sub(r'^\.ledger(/.*)?$', 'the ledger', path)
            found.append(('sync', re.sub(r'^\.stage/[0-9a-f]+-\d+$', 'the staged media', path)))
        elif 'O_CREAT' in arguments and paths and paths[0].startswith('ACC/'):
            found.append(('create', f'{paths[0]}/' + re.findall(r'"([^"]*)"', arguments)[0]))
        elif name.startswith('rename') or name == 'linkat':
            found.append(('rename', f'{paths[1]}/' + re.findall(r'"([^"]*)"', arguments)[1]))
        elif 'HTTP/1.1 201' in arguments:
            found.append(('answer', '201'))
    return found


def check(trace, root, document, syncs, sidecar):
    expected = [('sync', what) for what in syncs]
    expected += [(sidecar, f'ACC/{document}/.message.mp3.json'), ('rename', f'ACC/{document}/message.mp3')]
    expected += [('sync', 'the ledger'), ('answer', '201')]
    found = steps(trace, root)
    # The first commit also syncs the directory of the log.
    found = [step for step, before in zip(found, [None, *found]) if step != before]
    assert found == expected, f'{document}: {found}\nexpected {expected}'
    print(f'{document}: ' + ', '.join(' '.join(step) for step in found))


def main(server):
    with tempfile.TemporaryDirectory() as directory:
        root, trace = f'{directory}/root', f'{directory}/trace'
        command = ['strace', '-f', '-y', '-s', '64', '-e', f'trace={TRACED}', '-o', trace,
                   server, 'serve', '--listen', '127.0.0.1:0', '--store', root]
        with open(f'{directory}/log', 'w') as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            port = int(process.stdout.readline().rsplit(':', 1)[1])
            # The server then notes in the ledger that the empty store is indexed.
            deadline = time.monotonic() + 30
            while 'reindexed' not in open(f'{directory}/log').read():
                assert time.monotonic() < deadline, 'the store is not indexed'
            read = 0
            long = ['the staged media', '.stage', 'the journal']
            # A new account and document; longer than a journal record; with metadata; the same file again, whose row may be that of an
            # upload that was given up before its sync.
            for document, form, syncs, sidecar in [
                    ('PLAIN', PLAIN, ['the journal'], 'create'),
                    ('LONG', LONG, long, 'create'),
                    ('MULTIPART', MULTIPART, ['the journal'], 'create'),
                    ('MULTIPART', MULTIPART, ['the journal'], 'rename')]:
                if read == 0:
                    # Ignores the calls that open the store.
                    read = len(lines(trace))
                upload(port, document, *form)
                # The answer can arrive before strace has logged it.
                deadline = time.monotonic() + 30
                while ('answer', '201') not in steps((text := lines(trace))[read:], root):
                    assert time.monotonic() < deadline, f'{document}: no answer in the trace'
                check(text[read:], root, document, syncs, sidecar)
                read = len(text)
        finally:
            # strace ends when the server does.
            subprocess.run(['pkill', '-TERM', '-P', str(process.pid)], check=False)
            process.wait(10)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('server', help='path to the program, `target/release/kazoo-storage`')
    main(parser.parse_args().server)
