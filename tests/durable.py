#!/usr/bin/env python3
"""Shows with strace that a 201 comes after every fsync and rename that makes an upload durable, and not before.

    tests/durable.py PATH_TO_THE_SERVER        needs strace

A plain upload under a new name and one with metadata are sent to a server that runs under strace; what the kernel was asked for is
held against what `FsStore` promises.
"""
import re
import socket
import subprocess
import sys
import tempfile
import time

TRACED = 'fsync,fdatasync,rename,renameat,renameat2,linkat,sendto,sendmsg,write,writev'
BOUNDARY = 'B'
PLAIN = ('audio/mpeg', b'ID3 plain')
MULTIPART = (f'multipart/form-data; boundary={BOUNDARY}',
             b'\r\n--B\r\ncontent-type: application/json\r\n\r\n{"id":"DOC"}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--B--')


def upload(port, document, content_type, body):
    with socket.create_connection(('127.0.0.1', port), timeout=30) as s:
        head = f'PUT /some_prefix/ACC/{document}/message.mp3 HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n' \
               f'content-length: {len(body)}\r\n\r\n'
        s.sendall(head.encode() + body)
        answer = s.recv(4096)
    assert answer.startswith(b'HTTP/1.1 201 '), answer


def calls(trace):
    """What was asked for, in the order in which it was answered: the call's name and its arguments."""
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
    """The steps of one upload, with the file or directory each is about, relative to the root."""
    relative = lambda path: path.removeprefix(root).lstrip('/') or '.'
    found = []
    for name, arguments in calls(trace):
        paths = [relative(path) for path in re.findall(r'<(/[^>]*)>', arguments)]
        if name in ('fsync', 'fdatasync'):
            staged = re.fullmatch(r'\.stage/\d+', paths[0])
            found.append(('sync', 'a staged file' if staged else paths[0]))
        elif name.startswith('rename') or name == 'linkat':
            found.append(('rename', f'{paths[1]}/' + re.findall(r'"([^"]*)"', arguments)[1]))
        elif 'HTTP/1.1 201' in arguments:
            found.append(('answer', '201'))
    return found


def check(trace, root, document, parents, files):
    place = f'ACC/{document}'
    expected = [('sync', 'a staged file')] * len(files)
    expected += [('rename', f'{place}/{file}') for file in files]
    expected += [('sync', directory) for directory in [place, *parents]]
    expected += [('answer', '201')]
    found = steps(trace, root)
    assert sorted(found) == sorted(expected), f'{document}: {found}\nexpected {expected}'
    # The directory that a file was moved into first, its parents after it; those in any order.
    upto = len(expected) - 1 - len(parents)
    assert found[:upto] == expected[:upto] and found[-1] == expected[-1], f'{document}: {found}\nexpected {expected}'
    print(f'{document}: ' + ', '.join(' '.join(step) for step in found))


def main(server):
    with tempfile.TemporaryDirectory() as directory:
        root, trace = f'{directory}/root', f'{directory}/trace'
        command = ['strace', '-f', '-y', '-s', '64', '-e', f'trace={TRACED}', '-o', trace,
                   server, 'serve', '--listen', '127.0.0.1:0', '--root', root]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = int(process.stdout.readline().rsplit(':', 1)[1])
            read = 0
            # New account and document; new document; with metadata; in place of the one before.
            for document, form, parents, files in [
                    ('FIRST', PLAIN, ['.', 'ACC'], ['message.mp3']),
                    ('PLAIN', PLAIN, ['ACC'], ['message.mp3']),
                    ('MULTIPART', MULTIPART, ['ACC'], ['.message.mp3.json', 'message.mp3']),
                    ('MULTIPART', MULTIPART, [], ['.message.mp3.json', 'message.mp3'])]:
                if read == 0:
                    # What opening the store does is not part of an upload.
                    read = len(open(trace).read())
                upload(port, document, *form)
                # The answer can be here before strace has written down that it was sent.
                deadline = time.monotonic() + 30
                while ('answer', '201') not in steps((text := open(trace).read())[read:], root):
                    assert time.monotonic() < deadline, f'{document}: no answer in the trace'
                check(text[read:], root, document, parents, files)
                read = len(text)
        finally:
            # strace ends when the server does.
            subprocess.run(['pkill', '-TERM', '-P', str(process.pid)], check=False)
            process.wait(10)


if __name__ == '__main__':
    main(sys.argv[1])
