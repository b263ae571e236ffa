#!/usr/bin/env python3
"""Proves how the server answers, and what it stores, when the disk is full, fails or becomes read-only, or descriptors run out.

    tests/system/disk_faults.py PATH_TO_THE_SERVER [--directory DIR]        needs strace, and root for the file systems it mounts

With every fault, an answer other than 201 is a clear 503 or 507. Then the file is absent or the complete older one, nothing is left
in the staging directory, and stored files can be fetched. After the fault, the same upload is stored; after a failed sync,
only once the server is restarted.

Some faults are real: file systems without space or inodes, one whose disk fails, one that the kernel has made read-only,
directories in which nothing can be created. The others are errors that strace injects into one system call of an upload after the
other. Without permission to mount, the table lists the skipped cases.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import rig
from rig import (BROKEN, Client, Kept, Reply, Upload, Webhook, calls, check, eventually, fact, found, media, options, run, staged, traced)

def Server(binary: str, root: str, *flags: str, prefix: tuple[str, ...] = ()) -> rig.Server:
    """A server without a ledger: its faults are a case of their own, because they leave a file that was not acknowledged."""
    return rig.Server(binary, root, '--ledger', 'none', *flags, prefix=prefix)


def row(fault: str, answers: str, state: str) -> None:
    """Prints a line of the table."""
    fact(f'{fault:42} | {answers} | {state}')


class Files:
    """The acknowledged files of one root, and uploads of each form."""

    def __init__(self, root: str):
        self.root = root
        self.kept: dict[str, Kept] = {}
        self.count = 0

    def uploads(self) -> list[Upload]:
        """New files, short and long, with and without metadata, and one that replaces another."""
        self.count += 1
        n = self.count
        about = json.dumps({'id': f'202611-{n}', 'number': n})
        return [Upload(f'ACC/202611-short-{n}/message.mp3', media(n, 2_000)),
                Upload(f'ACC{n}/202611-long-{n}/message.mp3', media(n, 300_000)),
                Upload(f'ACC/202611-form-{n}/message.mp3', media(n, 5_000), about, 'form-data'),
                Upload('ACC/202611-replaced/message.mp3', media(n, [2_000, 200_000][n % 2]), about, 'form-data', f'audio/x-{n}')]

    def put(self, client: Client, upload: Upload) -> Reply:
        """Uploads, and checks that the file is stored, or that the answer gives the reason and nothing has changed."""
        reply = client.put(upload)
        if reply.status == 201:
            self.kept[upload.path] = upload.kept
        else:
            check((reply.status, reply.error['error']) in [(503, 'unavailable'), (507, 'storage_full')], lambda: f'{upload.path}: {reply}')
            check((reply.headers['retry-after'] is not None) == (reply.status == 503), lambda: f'{upload.path}: {reply}')
        return reply

    def settled(self, client: Client, path: str) -> None:
        """Checks that `path` is as last acknowledged, and that nothing is staged."""
        have = found(client, self.root, path)
        check(have == self.kept.get(path), lambda: f'{path} is {have} instead of {self.kept.get(path)}')
        eventually(f'nothing is staged, but there is {staged(self.root)}', lambda: not staged(self.root), 5)

    def all_settled(self, client: Client) -> None:
        for path in self.kept:
            self.settled(client, path)


def probe(client: Client) -> Reply:
    """Checks the answer to KAZOO's administrator, which never asks to retry."""
    token = random.randbytes(16).hex()
    reply = client.put(Upload(f'ACC/{token}/{token}_test_credentials_file.txt', f'some random content: {token}'.encode(),
                              media_type='text/plain'))
    check(reply.headers['retry-after'] is None, 'the probe is told to wait')
    return reply


def told(reply: Reply) -> str:
    return '201' if reply.status == 201 else f'{reply.status} {reply.error["message"]}'


def mount(*arguments: str) -> bool:
    return subprocess.run(['mount', *arguments], capture_output=True).returncode == 0


@contextlib.contextmanager
def mounted(where: str, *arguments: str) -> Iterator[bool]:
    """Mounts at `where`, if permitted."""
    os.makedirs(where, exist_ok=True)
    done = mount(*arguments, where)
    try:
        yield done
    finally:
        if done:
            eventually(f'{where} is unmounted', lambda: subprocess.run(['umount', where], capture_output=True).returncode == 0)


@contextlib.contextmanager
def ballast(path: str, left: int) -> Iterator[None]:
    """Fills the file system of `path` except for this much."""
    with open(path, 'wb', buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        size = max(0, os.path.getsize(path) - left)
        file.truncate(size)
    try:
        yield
    finally:
        os.remove(path)


def without_room(binary: str, directory: str) -> None:
    where = f'{directory}/full'
    with mounted(where, '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs') as done:
        if not done:
            return row('a full file system', 'left out', 'mounting is not permitted')
        files = Files(f'{where}/root')
        with Server(binary, files.root) as server, server.client() as client:
            for upload in files.uploads():
                check(files.put(client, upload).status == 201, 'an upload without a fault failed')
            refused = fitted = 0
            said: set[str] = set()
            for left in [kib << 10 for kib in (0, 4, 8, 12, 16, 20, 64, 200, 300, 320)] * 2:
                again = []
                with ballast(f'{where}/ballast', left):
                    for upload in files.uploads():
                        reply = files.put(client, upload)
                        files.settled(client, upload.path)
                        if reply.status == 201:
                            fitted += 1
                        else:
                            check(reply.status == 507, lambda: f'{upload.path}: {reply}')
                            said.add(told(reply))
                            refused += 1
                            again.append(upload)
                    answer = probe(client)
                    check(answer.status == (507 if left == 0 else answer.status), lambda: f'the probe: {answer}')
                    files.all_settled(client)
                for upload in again:
                    check((reply := files.put(client, upload)).status == 201, lambda: f'with room again: {upload.path}: {reply}')
                    files.settled(client, upload.path)
                for path in [path for path in files.kept if '-long-' in path]:
                    shutil.rmtree(pathlib.Path(files.root, path).parent)
                    del files.kept[path]
            check(refused and fitted, 'there was always room, or never')
            answers = f'{" and ".join(said)} ({refused} times; {fitted} fitted)'
            row('a full file system', answers, 'nothing changed; stored once there is room')
            # Otherwise the journal, which is emptied at a start, would free space.
            client.close()
            server.stop()
            with ballast(f'{where}/ballast', 0):
                with Server(binary, files.root) as server, server.client() as client:
                    files.all_settled(client)
                    check((reply := files.put(client, files.uploads()[0])).status == 507, lambda: f'{reply}')
                    row('started with a full file system', told(reply), 'what is stored can be fetched')
    with mounted(where, '-t', 'tmpfs', '-o', 'size=12m,nr_inodes=60', 'tmpfs'):
        files = Files(f'{where}/root')
        with Server(binary, files.root) as server, server.client() as client:
            said = set()
            for turn in range(20):
                for upload in files.uploads():
                    reply = files.put(client, upload)
                    files.settled(client, upload.path)
                    if reply.status != 201:
                        check(reply.status == 507, lambda: f'{upload.path}: {reply}')
                        said.add(told(reply))
            check(said, 'there were inodes for everything')
            shutil.rmtree(f'{files.root}/ACC/202611-short-1')
            del files.kept['ACC/202611-short-1/message.mp3']
            upload = files.uploads()[0]
            check((reply := files.put(client, upload)).status == 201, lambda: f'with inodes again: {reply}')
            files.all_settled(client)
            row('no inodes left', ' and '.join(said), 'nothing changed; stored once there are some')


SYNCS = ('fsync', 'fdatasync', 'syncfs', 'sync')
# The system calls of an upload, and their errors.
REFUSED = {'openat': ['EIO', 'ENOSPC', 'EROFS', 'EMFILE', 'ENFILE', 'EACCES'], 'mkdirat': ['EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'EMLINK'],
           'write': ['EIO', 'ENOSPC', 'EDQUOT'], 'writev': ['EIO', 'ENOSPC', 'EDQUOT'], 'pwritev': ['EIO', 'ENOSPC', 'EDQUOT'],
           'pwrite64': ['EIO', 'ENOSPC'], 'lseek': ['EIO'], 'statx': ['EIO'], 'pread64': ['EIO'], 'utimensat': ['EIO', 'EROFS', 'EPERM'],
           'fsync': ['EIO', 'ENOSPC', 'EDQUOT'], 'fdatasync': ['EIO', 'ENOSPC', 'EDQUOT'], 'renameat': ['EIO', 'ENOSPC', 'EROFS']}


def injected(binary: str, directory: str) -> None:
    """Each system call of each form of upload fails once with each error."""
    trial = Injection(binary, directory)
    with trial:
        for form in range(4):
            for call, errors in REFUSED.items():
                for error in errors:
                    n = 1
                    while trial.once(form, call, error, n):
                        n += 1
        trial.restart()
        with trial.server.client() as client:
            trial.files.all_settled(client)
    answers = trial.answers
    for (call, answer), errors in sorted(answers.items()):
        state = 'stored' if answer == '201' else 'nothing changed; no 201 until the server is started again' if call in SYNCS \
            else 'nothing changed; it may have come through when the server is started again' if call == 'renameat' \
            else 'nothing changed; the same upload is stored next'
        row(f'{call}: {", ".join(sorted(errors))}', answer, state)


class Injection:
    """A server in which one system call fails for each upload."""

    def __init__(self, binary: str, directory: str):
        self.binary, self.trace = binary, f'{directory}/trace'
        self.files = Files(f'{directory}/injected')
        self.answers: dict[tuple[str, str], set[str]] = {}
        self.server = Server(binary, self.files.root)
        with self.server.client() as client:
            for upload in self.files.uploads():
                check(self.files.put(client, upload).status == 201, 'an upload without a fault failed')

    def __enter__(self) -> Injection:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.kill()

    def restart(self) -> None:
        self.server.kill()
        self.server = Server(self.binary, self.files.root)

    def once(self, form: int, call: str, error: str, n: int) -> bool:
        """Uploads while the `n`th such call fails. Returns `True` if there was one. Then the same upload succeeds."""
        files, upload = self.files, self.files.uploads()[form]
        before, reply = files.kept.get(upload.path), None
        inject = ('-e', f'trace={call}', '-e', f'inject={call}:error={error}:when={n}')
        with self.server.client(3 if call == 'write' else 60) as client, traced(self.server, self.trace, self.server.threads()[1], *inject):
            with contextlib.suppress(TimeoutError):
                reply = files.put(client, upload)
        failed = re.search(r'.*\(INJECTED\)', pathlib.Path(self.trace).read_text())
        if not failed:
            check(reply and reply.status == 201, lambda: f'without a fault: {reply}')
            return False
        if 'eventfd' in failed[0]:
            # This call wakes a thread and never fails.
            self.restart()
            with self.server.client() as client:
                have = found(client, files.root, upload.path)
                check(have in (before, upload.kept), lambda: f'{upload.path} is {have}')
                files.put(client, upload)
            return True
        check(reply and reply.status != 201, lambda: f'{reply} in spite of {failed and failed[0]}')
        assert reply
        with self.server.client() as client:
            files.settled(client, upload.path)
        self.answers.setdefault((call, told(reply)), set()).add(error)
        if call in SYNCS:
            with self.server.client() as client:
                for _ in range(2):
                    check((again := files.put(client, upload)).status == 503, lambda: f'after {error} of {call}: {again}')
                    files.settled(client, upload.path)
                check((again := probe(client)).status == 503, lambda: f'the probe after {error} of {call}: {again}')
        if call in SYNCS or call == 'renameat':
            # A file that could not be renamed is in the journal.
            self.restart()
        with self.server.client() as client:
            # The upload may have succeeded anyway.
            have = found(client, files.root, upload.path)
            check(have in (before, upload.kept), lambda: f'{upload.path} is {have}')
            check((again := files.put(client, upload)).status == 201, lambda: f'after {error} of {call}: {again}')
            files.settled(client, upload.path)
        return True


def checkpoint(binary: str, directory: str) -> None:
    """The disk fails during the sync before the journal starts over."""
    files = Files(f'{directory}/checkpoint')
    with Server(binary, files.root) as server, server.client() as client:
        inject = ('-e', 'trace=syncfs', '-e', 'inject=syncfs:error=EIO:when=1')
        refused: list[Upload] = []
        with traced(server, f'{directory}/trace', sum(server.threads(), []), *inject):
            for n in range(600):
                upload = Upload(f'ACC/202611-turn-{n}/message.mp3', media(n, 60_000))
                reply = files.put(client, upload)
                if reply.status != 201:
                    refused.append(upload)
                check(not refused or reply.status == 503, lambda: f'after the disk has failed: {reply}')
        check(refused, 'the journal has not turned')
        answer = probe(client)
        check(answer.status == 503, lambda: f'the probe: {answer}')
        server.kill()
        with Server(binary, files.root) as server, server.client() as client:
            files.all_settled(client)
            check(files.put(client, refused[0]).status == 201, 'after a restart')
        row('syncfs: EIO', told(answer), 'all that was acknowledged is there; no 201 until the server is started again')


def fetches(binary: str, directory: str) -> None:
    """Each system call of a fetch fails once: the answer is an error, complete, or visibly truncated."""
    files = Files(f'{directory}/fetches')
    outcomes: dict[str, int] = {}
    with Server(binary, files.root) as server:
        with server.client() as client:
            for upload in files.uploads():
                files.put(client, upload)
        for path, kept in files.kept.items():
            for call in ('openat2', 'openat', 'statx', 'preadv2', 'pread64'):
                for n in range(1, 9):
                    with server.client() as client:
                        # A small file that was just read is served from memory.
                        inject = ('-e', f'trace={call}', '-e', f'inject={call}:error=EIO:when={n}')
                        with traced(server, f'{directory}/trace', sum(server.threads(), []), *inject):
                            try:
                                reply = client.get(path)
                            except BROKEN:
                                outcome = 'breaks off'
                            else:
                                check(reply.status in (200, 503), lambda: f'{path}: {reply}')
                                check(reply.status == 503 or reply.digest == kept.digest, f'{path}: other bytes with a 200')
                                outcome = told(reply) if reply.status == 503 else '200'
                        outcomes[outcome] = outcomes.get(outcome, 0) + 1
                        files.settled(client, path)
    check(any(outcome.startswith('503') for outcome in outcomes), 'no fetch has failed')
    row('a fetch: EIO', ' or '.join(f'{outcome} ({times} times)' for outcome, times in sorted(outcomes.items())), 'fetched next')


def without_descriptors(binary: str, directory: str) -> None:
    files = Files(f'{directory}/descriptors')
    with Server(binary, files.root, prefix=('prlimit', '--nofile=64')) as server:
        with server.client() as client:
            for upload in files.uploads():
                check(files.put(client, upload).status == 201, 'an upload without a fault failed')
        descriptors = lambda: len(os.listdir(f'/proc/{server.pid}/fd'))
        before = descriptors()
        held, answers = [], {'201': 0}
        with contextlib.ExitStack() as stack:
            for n in range(40):
                # Each needs a connection and a staged file: more than the available descriptors.
                upload = Upload(f'ACC/202611-held-{n}/message.mp3', media(n, 200_000))
                client = stack.enter_context(server.client(5))
                data = b''.join(upload.request())
                with contextlib.suppress(OSError):
                    client.send(data[:150_000])
                held.append((client, upload, data[150_000:]))
            eventually('the descriptors are used up', lambda: descriptors() >= 60)
            for client, upload, rest in held:
                try:
                    client.send(rest)
                    reply = client.receive('PUT')
                except BROKEN:
                    client.close()
                    continue
                if reply.status == 201:
                    files.kept[upload.path] = upload.kept
                else:
                    check(reply.status == 503 and reply.error, lambda: f'without descriptors: {reply}')
                answers[told(reply)] = answers.get(told(reply), 0) + 1
        check(len(answers) > 1, lambda: f'no upload was refused: {answers}')
        with server.client() as client:
            for _, upload, _ in held:
                if upload.path not in files.kept:
                    files.settled(client, upload.path)
                    check((reply := files.put(client, upload)).status == 201, lambda: f'with descriptors again: {reply}')
            files.all_settled(client)
        eventually('the descriptors are given back', lambda: descriptors() <= before + 1)
    row('no descriptors left', ' or '.join(f'{answer} ({times} times)' for answer, times in sorted(answers.items())),
        'nothing changed; stored once there are some')


def read_only(binary: str, directory: str) -> None:
    where, image = f'{directory}/ro', f'{directory}/image'
    with mounted(where, '-t', 'tmpfs', '-o', 'size=32m', 'tmpfs') as done:
        if not done:
            return row('a root that becomes read-only', 'left out', 'mounting is not permitted')
        files = Files(f'{where}/root')
        with Server(binary, files.root) as server, server.client() as client:
            check(not mount('-o', 'remount,ro', where), 'it was remounted read-only under an open store')
            check((reply := files.put(client, files.uploads()[0])).status == 201, lambda: f'{reply}')
            row('remounted read-only', told(reply), 'the kernel refuses that while the store is open')
    with open(image, 'wb') as file:
        file.truncate(64 << 20)
    subprocess.run(['mkfs.ext4', '-q', image], check=True)
    files = Files(f'{where}/root')
    with mounted(where, '-o', 'loop,errors=remount-ro', image) as done, contextlib.ExitStack() as stack:
        if not done:
            return row('made read-only by the kernel', 'left out', 'mounting a loop device is not permitted')
        server = stack.enter_context(Server(binary, files.root))
        client = stack.enter_context(server.client())
        for upload in files.uploads():
            check(files.put(client, upload).status == 201, 'an upload without a fault failed')
        # Nothing can be created there: like read-only, and reversible while the store is open.
        for frozen in (f'{files.root}/.stage', f'{files.root}/ACC'):
            subprocess.run(['chattr', '+i', frozen], check=True)
            said = set()
            uploads = [upload for upload in files.uploads() if upload.path.startswith('ACC/')]
            for upload in uploads:
                reply = files.put(client, upload)
                files.settled(client, upload.path)
                if upload.path not in files.kept:
                    check(reply.status == 503, lambda: f'{frozen} is immutable: {reply}')
                    said.add(told(reply))
            files.all_settled(client)
            subprocess.run(['chattr', '-i', frozen], check=True)
            for upload in uploads:
                check((reply := files.put(client, upload)).status == 201, lambda: f'{frozen} is mutable again: {reply}')
            row(f'{pathlib.Path(frozen).name} made immutable', ' and '.join(sorted(said)), 'nothing changed; stored once it is not')
        device = subprocess.run(['findmnt', '-no', 'SOURCE', where], check=True, capture_output=True, text=True).stdout.strip()
        trigger = pathlib.Path('/sys/fs/ext4', pathlib.Path(device).name, 'trigger_fs_error')
        trigger.write_text('a test')
        said = set()
        for upload in files.uploads():
            reply = files.put(client, upload)
            check(reply.status == 503, lambda: f'on a read-only file system: {reply}')
            said.add(told(reply))
            check(found(client, files.root, upload.path) == files.kept.get(upload.path), f'{upload.path} has changed')
        answer = probe(client)
        check(answer.status == 503, lambda: f'the probe: {answer}')
        for path, kept in files.kept.items():
            check(found(client, files.root, path) == kept, f'{path} cannot be fetched')
        row('made read-only by the kernel', ' and '.join(sorted(said)), 'nothing changed; stored files can be fetched')
        server.kill()
    heals(binary, files, where, image, 'mounted again')


def heals(binary: str, files: Files, where: str, image: str, how: str) -> None:
    """After a file system check, a mount and a start, every acknowledged file exists."""
    # The device may still be in use.
    eventually('the file system is sound', lambda: subprocess.run(['fsck.ext4', '-fy', image], capture_output=True).returncode in (0, 1))
    with mounted(where, '-o', 'loop', image) as done:
        check(done, 'the file system cannot be mounted again')
        with Server(binary, files.root) as server, server.client() as client:
            files.all_settled(client)
            check((reply := files.put(client, files.uploads()[3])).status == 201, lambda: f'{how}: {reply}')
            row(how, told(reply), f'all {len(files.kept)} acknowledged files are there')


def failing_disk(binary: str, directory: str) -> None:
    """A disk without space, which reports this only at writeback."""
    below, where = f'{directory}/disk', f'{directory}/failing'
    with mounted(below, '-t', 'tmpfs', '-o', 'size=48m', 'tmpfs') as done:
        if not done:
            return row('a disk that fails', 'left out', 'mounting is not permitted')
        image = f'{below}/image'
        with open(image, 'wb') as file:
            file.truncate(128 << 20)
        subprocess.run(['mkfs.ext4', '-q', image], check=True)
        files = Files(f'{where}/root')
        with mounted(where, '-o', 'loop', image) as done, contextlib.ExitStack() as stack:
            if not done:
                return row('a disk that fails', 'left out', 'mounting a loop device is not permitted')
            server = stack.enter_context(Server(binary, files.root))
            client = stack.enter_context(server.client())
            for _ in range(5):
                for upload in files.uploads():
                    check(files.put(client, upload).status == 201, 'an upload without a fault failed')
            said: set[str] = set()
            with ballast(f'{below}/ballast', 0):
                for _ in range(100):
                    for upload in files.uploads():
                        reply = files.put(client, upload)
                        check(not said or reply.status != 201, lambda: f'stored after {said}')
                        if reply.status != 201:
                            said.add(told(reply))
                            check(found(client, files.root, upload.path) == files.kept.get(upload.path), f'{upload.path} has changed')
            check(said, 'the disk has not failed')
            for upload in files.uploads():
                check((reply := files.put(client, upload)).status == 503, lambda: f'before it was started again: {reply}')
            check((reply := probe(client)).status == 503, lambda: f'the probe: {reply}')
            row('a disk that fails', ' and '.join(sorted(said)), 'nothing changed; no 201 until the server is started again')
            server.kill()
        heals(binary, files, where, image, 'a disk that failed and is sound again')


def unnamed_files(binary: str, directory: str) -> None:
    files = Files(f'{directory}/unnamed')
    with Server(binary, files.root) as server, server.client() as client:
        with traced(server, f'{directory}/trace', sum(server.threads(), []), '-f', '-e', 'trace=%file'):
            for upload in files.uploads():
                check(files.put(client, upload).status == 201, 'an upload without a fault failed')
    asked = list(calls(f'{directory}/trace'))
    check(any('O_CREAT' in arguments for _, arguments, _ in asked), 'the trace has no upload')
    check(not any('O_TMPFILE' in arguments for _, arguments, _ in asked) and not any(name == 'linkat' for name, _, _ in asked),
          'an upload needs O_TMPFILE')
    row('a file system without O_TMPFILE', '201', 'it is not asked for: no openat has it')


class Receiver:
    """A webhook that accepts every event."""

    def __init__(self) -> None:
        self.accepted: set[tuple[str, str]] = set()
        self.webhook = Webhook(self.accept)

    def accept(self, _: dict[str, str], body: bytes) -> None:
        data = json.loads(body)['data']
        self.accepted.add((data['key'], data['sha256']))

    def deliveries(self, path: str) -> str:
        """Writes the configuration of the server to `path`, and returns it."""
        secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
        pathlib.Path(path).write_text(json.dumps({'webhooks': [{'url': self.webhook.url, 'secret': secret, 'timeout': '1s'}]}))
        return path


def full_ledger(binary: str, directory: str) -> None:
    """The file system of the ledger is full: uploads are refused until it has space, and nobody has to intervene. Every acknowledged
    upload is delivered, before, while or after the file system is full."""
    where, receiver = f'{directory}/ledger', Receiver()
    # SQLite's log takes up to 32 MiB of it.
    with mounted(where, '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs') as done:
        if not done:
            return row('a full ledger', 'left out', 'mounting is not permitted')
        files = Files(f'{directory}/beside-the-ledger')
        acknowledged: set[tuple[str, str]] = set()

        def put(upload: Upload) -> Reply:
            reply = client.put(upload)
            if reply.status == 201:
                files.kept[upload.path] = upload.kept
                acknowledged.add((upload.path, upload.kept.digest.hex()))
            return reply

        flags = ('--ledger', f'sqlite:{where}/files.sqlite', '--deliveries', receiver.deliveries(f'{directory}/deliveries.json'))
        with rig.Server(binary, files.root, *flags) as server, server.client() as client:
            for turn in range(3):
                check(put(files.uploads()[0]).status == 201, 'an upload without a fault failed')
                refused = []
                with ballast(f'{where}/ballast', 0):
                    for _ in range(30):
                        for upload in files.uploads():
                            reply = put(upload)
                            if reply.status == 201:
                                continue
                            check(reply.status == 503 and 'ledger' in reply.error['message'], lambda: f'{upload.path}: {reply}')
                            check('retry-after' in reply.headers, lambda: f'{upload.path}: {reply.headers}')
                            refused.append(upload)
                    check(refused, 'there was always room')
                    check((answer := probe(client)).status == 503, lambda: f'the probe: {answer}')
                    # A delivery that cannot be recorded is repeated when there is room.
                    time.sleep(turn)
                for upload in refused:
                    check((reply := put(upload)).status == 201, lambda: f'with room again: {upload.path}: {reply}')
                files.all_settled(client)
            eventually('every acknowledged upload is delivered', lambda: acknowledged <= receiver.accepted, 60)
            row('a full ledger', told(answer), f'stored and delivered once there is room, without a restart: {len(acknowledged)} uploads')


def main(arguments: argparse.Namespace) -> None:
    row('FAULT', 'ANSWER', 'STATE')
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        for scenario in (without_room, injected, checkpoint, fetches, without_descriptors, read_only, failing_disk, unnamed_files,
                         full_ledger):
            scenario(arguments.server, directory)


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, lambda parser: None)))
