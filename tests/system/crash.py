#!/usr/bin/env python3
"""Proves that a server killed at any moment keeps everything that it acknowledged, and no partial file.

    tests/system/crash.py PATH_TO_THE_SERVER [--rounds N] [--directory DIR]        needs strace

In each round, several writers, one writer that keeps replacing a file, and a reader of that file run until the server is
killed with SIGKILL at a random moment and restarted on the same root. Then each acknowledged file has its
bytes and its metadata, every other file is absent or complete, the replaced one has matching content and metadata, and no staged
file is left. A second server on the same root refuses to start, and does not affect an upload in progress.

After that, the server is killed before every single system call by which an upload changes something: strace counts them and kills
at the first, at the second and so on, for each form of upload, until an upload succeeds. This replaces failpoints in a special
build. The restart after a crash is tested in the same way.
"""
from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

from rig import (BROKEN, Client, Failed, Kept, Server, Thread, Upload, calls, check, fact, fetched, found, media, number, numbered, options,
                 run, staged, stored, traced)

REPLACED = 'ACC/202611-replaced/message.mp3'
# A longer upload is staged as a file, a shorter one is written to the journal.
GATHERED = 64 << 10
SIZES = [10, 2_000, GATHERED + 7, 150_000]
# Number of files of earlier rounds that each round reads again.
SAMPLE = 30


def about(n: int) -> str:
    return json.dumps({'id': f'202611-{n:x}', 'number': n, 'name': 'Nachricht f\u00fcr 1010'})


class Writer:
    """Uploads files until the server is killed, and records the acknowledged ones."""

    def __init__(self, name: str, form: str, sizes: list[int]):
        self.name, self.form, self.sizes = name, form, sizes
        self.count = 0
        self.acknowledged: list[Upload] = []
        self.last: Upload | None = None

    def next(self) -> Upload:
        self.count += 1
        n = self.count
        path = f'ACC{n % 7}/202611-{self.name}-{n}/message.mp3'
        return Upload(path, media(path, self.sizes[n % len(self.sizes)]), about(n), self.form, base64=n % 5 == 0)

    def work(self, port: int) -> None:
        with Client(port) as client:
            while True:
                self.last = self.next()
                try:
                    reply = client.put(self.last)
                except BROKEN:
                    return
                check(reply.status == 201, lambda: f'{self.last and self.last.path}: {reply.status} {reply.body!r}')
                self.acknowledged.append(self.last)
                self.last = None
                # Yields to the other threads.
                time.sleep(0.001)


class Replacer(Writer):
    def next(self) -> Upload:
        self.count += 1
        return numbered(self.count, REPLACED, SIZES)


class Reader:
    """Fetches the replaced file until the server is killed, and reads its content and sidecar from the disk."""

    def __init__(self) -> None:
        self.fetches = self.pairs = 0

    def work(self, server: Server) -> None:
        with server.client() as client:
            latest = 0
            while True:
                try:
                    reply = client.get(REPLACED)
                except BROKEN:
                    return
                if reply.status == 404:
                    check(latest == 0, 'the replaced file was there and is gone')
                    continue
                check(reply.status == 200, lambda: f'the replaced file: {reply.status} {reply.body!r}')
                reply.digest
                n = number(reply.body, reply.headers['content-type'])
                check(n >= latest, lambda: f'content {n} after content {latest}')
                latest = n
                self.fetches += 1
                self.pairs += self.reads_pair(server.root)
                time.sleep(0.002)

    @staticmethod
    def reads_pair(root: str) -> bool:
        """Reads the media and then its sidecar, as a backup would. The result is ignored if both were replaced meanwhile."""
        path = pathlib.Path(root, REPLACED)
        try:
            with open(path, 'rb') as file:
                stat, content = os.fstat(file.fileno()), file.read()
            sidecar = json.loads(path.with_name(f'.{path.name}.json').read_text())
        except FileNotFoundError:
            return False
        version = f'{stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09}-{stat.st_size}'
        for entry in (sidecar, sidecar.get('previous')):
            if entry and entry['version'] == version:
                n = number(content, entry['content_type'])
                upload = numbered(n, REPLACED, SIZES)
                check(json.dumps(entry.get('metadata')) == (upload.kept.metadata or 'null'), f'content {n} has the metadata of another')
                return True
        return False


def random_moments(binary: str, directory: str, rounds: int) -> None:
    root = f'{directory}/root'
    writers = [Writer('short', 'raw', [0, 1, 300, 2_000]), Writer('long', 'raw', [GATHERED, 90_000, 250_000]),
               Writer('form', 'form-data', [300, 5_000, 120_000]), Writer('mixed', 'mixed', [700, 30_000])]
    replacer, reader = Replacer('replaced', '', []), Reader()
    kept: dict[str, Kept] = {}
    current = came_through = absent = 0
    begun = time.monotonic()
    server = Server(binary, root)
    for turn in range(1, rounds + 1):
        threads = [Thread(writer.work, server.port) for writer in [*writers, replacer]] + [Thread(reader.work, server)]
        time.sleep(random.uniform(0.005, 0.150))
        if turn % 20 == 1:
            refuses_a_second(binary, server)
        server.kill()
        for thread in threads:
            thread.join(60)
        server = Server(binary, root)
        left = staged(root)
        check(not left, lambda: f'round {turn}: {left} is left in the staging directory')
        with server.client() as client:
            fresh = []
            for writer in writers:
                fresh += writer.acknowledged
                writer.acknowledged.clear()
            for upload in fresh:
                kept[upload.path] = upload.kept
            older = random.sample(sorted(kept), min(SAMPLE, len(kept))) if turn % 10 == 0 else []
            for path in [upload.path for upload in fresh] + older:
                have = found(client, root, path)
                check(have == kept[path], lambda: f'round {turn}: {path} was acknowledged as {kept[path]}, and is {have}')
            for upload in (writer.last for writer in writers if writer.last):
                have = found(client, root, upload.path)
                check(have in (None, upload.kept), lambda: f'round {turn}: {upload.path} was not acknowledged, and is {have}')
                if have:
                    kept[upload.path] = have
                came_through += have is not None
                absent += have is None
            have = found(client, root, REPLACED)
            allowed = [replacer.acknowledged[-1].kept] if replacer.acknowledged else [current]
            allowed += [replacer.last.kept] if replacer.last else []
            check((have or 0) in allowed, lambda: f'round {turn}: the replaced file is {have}, not one of {allowed}')
            current = have or 0
            replacer.acknowledged.clear()
        if turn % 100 == 0 or turn == rounds:
            fact(f'{turn} rounds in {time.monotonic() - begun:.0f} s: {len(kept)} files, {replacer.count} replacements, '
                 f'{reader.fetches} fetches and {reader.pairs} pairs read meanwhile; of the uploads under way {came_through} '
                 f'had come through and {absent} are absent')
    with server.client() as client:
        for path in kept:
            have = stored(root, path), fetched(client, path)
            check(have == (kept[path], kept[path][:2]), lambda: f'{path} was acknowledged as {kept[path]}, and is {have}')
    server.stop()
    check(not staged(root), 'something is left in the staging directory of a server that ended')


def refuses_a_second(binary: str, server: Server) -> None:
    """Starts another server on the same root during a long upload."""
    upload = Upload(f'ACC/202611-live-{time.monotonic_ns()}/message.mp3', media('live', 3 * GATHERED))
    data = b''.join(upload.request())
    with server.client() as client:
        client.send(data[:-10])
        deadline = time.monotonic() + 30
        while not (live := staged(server.root)):
            check(time.monotonic() < deadline, 'the upload is not staged')
        try:
            second = Server(binary, server.root)
        except Failed as refusal:
            check('another store' in str(refusal) and 'has this root open' in str(refusal), f'a second server: {refusal}')
        else:
            second.kill()
            raise Failed('a second server runs on the same root')
        client.send(data[-10:])
        reply = client.receive('PUT')
        check(reply.status == 201, lambda: f'the upload of {live}, during which a second server was tried: {reply}')
        check(found(client, server.root, upload.path) == upload.kept, 'the upload during which a second server was tried is not as sent')


# The calls that change something on the disk or for the client.
CHANGES = ['openat', 'mkdirat', 'write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'ftruncate', 'fallocate', 'utimensat', 'fsync',
           'fdatasync', 'sync_file_range', 'syncfs', 'linkat', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'sendto', 'sendmsg']


STAGED = r'[0-9a-f]{10,}-(\d+)'


def steps(trace: str, root: str) -> tuple[list[str], str | None]:
    """The changes that an upload requested, by the name of their object, and the one at which the server was killed."""
    numbers = sorted({int(number) for number in re.findall(f'"{STAGED}"', pathlib.Path(trace).read_text(errors='replace'))})
    kinds = dict(zip(numbers, ('media', 'sidecar')))
    asked: list[str] = []
    killed = None
    for name, arguments, answer in calls(trace):
        paths = [path.removeprefix(root).lstrip('/') or 'the root' for path in re.findall(r'<(/[^>]*)>', arguments)]
        texts = re.findall(r'"([^"]*)"', arguments)
        if 'HTTP/1.1 ' in arguments:
            step = f'{name} the answer'
        elif not paths or '<socket' in arguments or '<anon_inode' in arguments:
            continue
        elif name.startswith('rename'):
            step = f'{name} {texts[0]} to {texts[1]}'
        elif name in ('openat', 'mkdirat', 'unlinkat'):
            step = f'{name} {"the new " if "O_CREAT" in arguments else ""}{texts[0]}'
        else:
            step = f'{name} {paths[0]}'
        step = re.sub(STAGED, lambda match: kinds.get(int(match[1]), 'a staged file'), step)
        step = re.sub(r'(ACC/)?202611-[\w-]+', 'DOC', step)
        if answer.startswith('?'):
            killed = step
        elif step not in asked:
            asked.append(step)
    return asked, killed


def every_step(binary: str, directory: str) -> None:
    root = f'{directory}/steps'
    short, long = 2_000, 2 * GATHERED
    for form, wire, size, replaces in [
            ('short', 'raw', short, False), ('long', 'raw', long, False), ('multipart', 'form-data', short, False),
            ('multipart, replacing', 'form-data', short, True), ('long multipart, replacing', 'form-data', long, True)]:
        begun = time.monotonic()
        trial = Trial(binary, root, f'{directory}/trace', form, wire, size, replaces)
        if replaces:
            trial.once()
        # Without a fault, to find the calls at which to kill.
        whole = trial.once()[0]
        killed: collections.Counter[str] = collections.Counter()
        missed = set(whole)
        # strace counts per thread, and several threads may write, so one pass may miss some calls.
        for _ in range(30):
            for serving in (False, True):
                for call in {step.split()[0] for step in missed}.intersection(trial.asked(serving)):
                    n = 1
                    while at := trial.once(serving, f'inject={call}:signal=SIGKILL:when={n}')[1]:
                        killed[at] += 1
                        n += 1
            missed = set(whole) - set(killed)
            if not missed:
                break
        check(not missed, lambda: f'{form}: never killed at {sorted(missed)}')
        trial.end()
        fact(f'{form}: killed {sum(killed.values())} times at {len(killed)} steps in {time.monotonic() - begun:.0f} s, of which '
             f'{trial.came_through} uploads had come through, unanswered: before ' + ', '.join(whole))


class Trial:
    """Uploads of one form, each to a server that is killed during it."""

    def __init__(self, binary: str, root: str, trace: str, form: str, wire: str, size: int, replaces: bool):
        shutil.rmtree(root, ignore_errors=True)
        self.binary, self.root, self.trace = binary, root, trace
        self.name, self.wire, self.size, self.replaces = re.sub(r'\W+', '-', form), wire, size, replaces
        self.count = self.came_through = 0
        self.server = Server(binary, root)
        # The account exists already, as for every upload but the first.
        with self.server.client() as client:
            client.put(Upload('ACC/202611-first/message.mp3', b'ID3\0'))

    def once(self, serving: bool | None = None, *arguments: str) -> tuple[list[str], str | None]:
        """Uploads, restarts the server, and checks the files. Returns the steps, and the one at which it was killed.

        Traces the threads that serve, or those that do not; by default all.
        """
        self.count += 1
        path = f'ACC/202611-{self.name}-{0 if self.replaces else self.count}/message.mp3'
        media_type = f'audio/x-{self.count}' if self.replaces else 'audio/mpeg'
        upload = Upload(path, media(self.count, self.size), about(self.count), self.wire, media_type)
        before = stored(self.root, path)
        options = [part for argument in ['trace=' + ','.join(CHANGES), *arguments] for part in ('-e', argument)]
        threads = self.server.threads()
        watched = [*threads[1], *threads[0]] if serving is None else threads[0] if serving else threads[1]
        # strace follows threads that traced threads create.
        options += ['-f'] if serving is None else []
        reply = None
        try:
            with self.server.client() as client, traced(self.server, self.trace, watched, *options):
                reply = client.put(upload)
        except BROKEN:
            self.server.process.wait(30)
        check(reply is None or reply.status == 201, lambda: f'{path}: {reply}')
        done, killed = steps(self.trace, self.root)
        if self.server.lives():
            killed = None
        elif killed is None:
            # At a call that concerns neither a file nor the answer, such as one that wakes a thread.
            killed = 'wake a thread'
        self.server.kill()
        self.server = Server(self.binary, self.root)
        check(not (left := staged(self.root)), lambda: f'{left} is left in the staging directory')
        with self.server.client() as client:
            have = found(client, self.root, path)
        allowed = [upload.kept] if reply else [upload.kept, before]
        check(have in allowed, lambda: f'killed before {killed}: {path} is {have} instead of one of {allowed}')
        self.came_through += have == upload.kept and not reply
        return done, killed

    def asked(self, serving: bool) -> list[str]:
        self.once(serving)
        return sorted({name for name, _, _ in calls(self.trace)})

    def end(self) -> None:
        self.server.kill()


def every_turn_of_the_journal(binary: str, directory: str) -> None:
    """Uploads until the journal switches to its other segment, and kills the server before the sync of that switch."""
    root, count = f'{directory}/turns', 0
    kept: dict[str, Kept] = {}
    for turn in (1, 2, 3):
        with Server(binary, root) as server:
            last = None
            try:
                inject = ('-e', 'trace=syncfs', '-e', f'inject=syncfs:signal=SIGKILL:when={turn}')
                with server.client() as client, traced(server, f'{directory}/trace', sum(server.threads(), []), *inject):
                    # Each turn is 8 MiB.
                    for _ in range(200 * turn):
                        count += 1
                        path = f'ACC/202611-turn-{count}/message.mp3'
                        last = Upload(path, media(path, 60_000), about(count), 'form-data')
                        check((reply := client.put(last)).status == 201, lambda: f'{path}: {reply}')
                        kept[path] = last.kept
                raise Failed(f'the journal has not turned {turn} times')
            except BROKEN:
                server.process.wait(30)
        with Server(binary, root) as server, server.client() as client:
            check(not (left := staged(root)), lambda: f'{left} is left in the staging directory')
            for path, expected in kept.items():
                have = found(client, root, path)
                check(have == expected, lambda: f'{path} was acknowledged as {expected}, and is {have}')
            if last:
                have = found(client, root, last.path)
                check(have in (None, last.kept), lambda: f'{last and last.path} was not acknowledged, and is {have}')
    fact(f'the journal: killed at each of its first 3 turns, and all of {len(kept)} files are there')


def every_step_of_a_start(binary: str, directory: str) -> None:
    """Crashes so that the next start has to recover, and kills that start at each step until one succeeds."""
    root, trace = f'{directory}/start', f'{directory}/trace'
    uploads = [Upload('ACC/202611-short/message.mp3', media(1, 2_000)), Upload('ACC/202611-long/message.mp3', media(2, 2 * GATHERED)),
               Upload('ACC/202611-form/message.mp3', media(3, 2_000), about(3), 'form-data', 'audio/x-3'),
               Upload('ACC/202611-form/message.mp3', media(4, 2_000), about(4), 'form-data', 'audio/x-4')]
    with Server(binary, root) as server, server.client() as client:
        for upload in uploads:
            check(client.put(upload).status == 201, 'an upload failed')
    lost = f'{directory}/lost'
    # What was not on the disk when the machine crashed.
    for name in ('202611-short', '202611-form'):
        shutil.rmtree(f'{root}/ACC/{name}')
    shutil.move(root, lost)
    kills = 0
    for call in ('openat', 'mkdirat', 'write', 'utimensat', 'renameat', 'unlinkat', 'fsync', 'syncfs', 'ftruncate', 'close'):
        n = 0
        while True:
            n += 1
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(lost, root)
            # The server stays a child of this process, next to strace.
            command = ('strace', '-D', '-f', '-o', trace, '-e', f'trace={call}', '-e', f'inject={call}:signal=SIGKILL:when={n}')
            try:
                Server(binary, root, prefix=command).kill()
                started = True
            except Failed:
                started = False
            with Server(binary, root) as server, server.client() as client:
                check(not (left := staged(root)), lambda: f'{left} is left in the staging directory')
                for upload in (*uploads[:2], uploads[3]):
                    have = found(client, root, upload.path)
                    check(have == upload.kept, lambda: f'{upload.path} is {have} after a start that was killed before {call} {n}')
            if started:
                break
            kills += 1
    fact(f'a start after a crash: killed at {kills} steps, and the next one had everything')


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        random_moments(arguments.server, directory, arguments.rounds)
        every_step(arguments.server, directory)
        every_turn_of_the_journal(arguments.server, directory)
        every_step_of_a_start(arguments.server, directory)


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, lambda parser: parser.add_argument(
        '--rounds', type=int, default=1000, help='how often the server is killed at a random moment (default: 1000)'))))
