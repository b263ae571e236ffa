#!/usr/bin/env python3
"""Checks the memory and the speed of what works on all files.

    tests/system/bulk.py PATH_TO_THE_SERVER [--directory DIR] [--files 200000 | --quick]        Linux

- memory: the peak of `files list`, `files export`, `files verify` and `copy`, and of the server meanwhile, with many small files
  over that with few. It must not depend on their number, nor the peak of an export on their length.
- speed: `files export` to a directory and to a ZIP file, compared with `cp -r`, and with `cp -r` and `sync -f`, of the same files of 4 KiB
  to 1 MiB, in alternation: the ratios of the median times.
- retention: the files that a rule removes in a second next to `find -delete`, on an idle server, and the rate of uploads beside it
  next to that of uploads alone: the medians of alternating rounds.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from rig import Server, Thread, Upload, check, eventually, fact, media, options, run

MIB = 1 << 20
# Number of files of the run that the others are compared with.
FEW = 500
# Growth of the peak with the number of files, and with their length: a ZIP file waits for batches of 4 MiB, and the allocator keeps more.
BUDGET, MIXED_BUDGET = 32, 64
# Files and rounds of the measurement of the speed.
MIXED, ROUNDS = 2000, 5
# Files and rounds with `--quick`.
QUICK_FILES, QUICK_ROUNDS = 20_000, 3
# Least speed of an export, as a fraction of that of `cp -r` and `sync -f`, which neither read through a server nor hash.
SPEED = 0.2
# Files of an account that retention removes in a round, and their length.
DUE, DUE_SIZE = 5000, 4096
# Seconds of uploads with retention and without it, in each round, by this number of clients.
UPLOADING, CLIENTS = 5, 4
# Least speed of retention, as a fraction of that of `find -delete`, which updates no ledger and syncs nothing, and of uploads beside it,
# as a fraction of that without it: the measurement varies by a tenth.
REMOVAL, BESIDE = 0.05, 0.8


class Commands:
    """Runs commands of the program for a server."""

    def __init__(self, server: str, admin: str, token: str):
        self.server = server
        self.environment = os.environ | {'KAZOO_STORAGE_ADMIN': f'unix:{admin}', 'KAZOO_STORAGE_ADMIN_TOKEN_FILE': token}

    def output(self, *arguments: str) -> str:
        return subprocess.run([self.server, *arguments], env=self.environment, check=True, capture_output=True, text=True).stdout

    def wait_until_recorded(self, count: int) -> None:

        def recorded() -> bool:
            usage = [json.loads(line) for line in self.output('files', 'du', '--json').splitlines()]
            return sum(account['files'] for account in usage) == count

        eventually('all files are recorded', recorded, 600)

    def peak(self, *arguments: str) -> float:
        """Runs a command, and returns its peak of memory in MiB."""
        process = subprocess.Popen([self.server, *arguments], env=self.environment, stdout=subprocess.DEVNULL)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, status(process.pid))
            time.sleep(0.002)
        check(process.returncode == 0, lambda: f'{arguments} exited with status {process.returncode}')
        return peak


def status(pid: int) -> float:
    """The peak of a process, in MiB. 0 when it has ended."""
    with contextlib.suppress(OSError, StopIteration), open(f'/proc/{pid}/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmHWM:')) / 1024
    return 0.0


@contextlib.contextmanager
def serving(arguments: argparse.Namespace, root: pathlib.Path, *flags: str) -> Iterator[tuple[Server, Commands]]:
    admin, token = str(root / 'admin'), str(root / 'token')
    with Server(arguments.server, str(root / 'files'), '--admin', f'unix:{admin}', '--admin-token-file', token, *flags) as server:
        yield server, Commands(arguments.server, admin, token)
        server.stop()


def memory(arguments: argparse.Namespace, count: int) -> dict[str, float]:
    """The peak of each command with `count` files."""
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root = pathlib.Path(directory)
        for n in range(count):
            if n % 1000 == 0:
                parent = root / 'files' / f'acc{n // 1000}' / 'doc'
                parent.mkdir(parents=True)
            (parent / f'{n}.mp3').write_bytes(b'ID3%d' % n)
        with serving(arguments, root) as (server, commands):
            commands.wait_until_recorded(count)
            peaks = {
                'list': commands.peak('files', 'list', '--all', '--limit', '0', '--json'),
                'export': commands.peak('files', 'export', '--all', '--to', str(root / 'exported')),
                'export again': commands.peak('files', 'export', '--all', '--to', str(root / 'exported')),
                'export to a ZIP file': commands.peak('files', 'export', '--all', '--to', str(root / 'exported.zip')),
                'verify': commands.peak('files', 'verify', '--content'),
                'server': status(server.pid),
            }
            sums = subprocess.run(['sha256sum', '--check', '--quiet', 'SHA256SUMS'], cwd=root / 'exported')
            check(sums.returncode == 0, 'SHA256SUMS does not fit')
            tested = subprocess.run([sys.executable, '-m', 'zipfile', '-t', str(root / 'exported.zip')], stdout=subprocess.DEVNULL)
            check(tested.returncode == 0, 'the ZIP file is damaged')
        peaks['copy'] = commands.peak('copy', '--from', str(root / 'files'), '--to', str(root / 'copied'))
        return peaks


def speed(arguments: argparse.Namespace, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """The median times, in seconds, of exports and of copies of the same files, and the peak of each export."""
    sizes = random.Random(1)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root = pathlib.Path(directory)
        with serving(arguments, root) as (server, commands), server.client() as client:
            for n in range(MIXED):
                size = int(4096 * 256 ** sizes.random())
                reply = client.put(Upload(f'acc/doc{n // 50}/{n}.mp3', media(n, size)))
                check(reply.status == 201, lambda: f'{reply}')
            source, target = root / 'files' / 'acc', root / 'out'
            export = [arguments.server, 'files', 'export', '--all', '--to']
            times: dict[str, list[float]] = {}
            for _ in range(rounds):
                for name, command in {
                    'cp': ['cp', '-r', str(source), str(target)],
                    'cp and sync': ['sh', '-c', 'cp -r "$1" "$2" && sync -f "$2"', 'sh', str(source), str(target)],
                    'export': [*export, str(target)],
                    'ZIP file': [*export, f'{target}.zip'],
                }.items():
                    # Otherwise a copy waits for the pages of the one before.
                    os.sync()
                    begun = time.monotonic()
                    subprocess.run(command, env=commands.environment, check=True, stdout=subprocess.DEVNULL)
                    times.setdefault(name, []).append(time.monotonic() - begun)
                    shutil.rmtree(target, ignore_errors=True)
                    target.with_suffix('.zip').unlink(missing_ok=True)
            fact(f'seconds: {({name: [round(value, 2) for value in values] for name, values in times.items()})}')
            medians = {name: statistics.median(values) for name, values in times.items()}
            peaks = {
                'export': commands.peak(*export[1:], str(target)),
                'export to a ZIP file': commands.peak(*export[1:], f'{target}.zip'),
            }
            return medians, peaks


class Due:
    """The files of accounts that are a year old, and the file with the rules."""

    def __init__(self, root: pathlib.Path, accounts: int):
        self.root, self.policy = root / 'files', root / 'policy.toml'
        self.policy.write_text('')
        year = time.time() - 365 * 86_400
        for account in range(accounts):
            for n in range(DUE):
                path = self.path(account, n)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(media(n, DUE_SIZE))
                os.utime(path, (year + n, year + n))

    def path(self, account: int, n: int) -> pathlib.Path:
        return self.root / f'due{account}' / f'doc{n // 1000}' / f'{n}.mp3'

    def begin(self, server: Server, account: int) -> None:
        """Lets retention remove the files of an account."""
        self.policy.write_text(f'[[retention]]\naccount = "due{account}"\ndays = 30\n')
        server.process.send_signal(signal.SIGHUP)

    def wait(self, account: int) -> None:
        # The oldest is removed first.
        eventually('retention has removed the files', lambda: not self.path(account, DUE - 1).exists(), 600)


def removal(arguments: argparse.Namespace, rounds: int) -> tuple[float, float]:
    """The speed of retention next to that of `find -delete`, and that of uploads beside it next to that of uploads alone."""
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root = pathlib.Path(directory)
        due = Due(root, 2 * rounds)
        with serving(arguments, root, '--policy', str(due.policy)) as (server, commands):
            commands.wait_until_recorded(2 * rounds * DUE)
            rates: dict[str, list[float]] = {'find': [], 'retention': []}
            for account in range(rounds):
                shutil.copytree(due.root / f'due{account}', root / 'copy')
                begun = time.monotonic()
                subprocess.run(['find', str(root / 'copy'), '-delete'], check=True)
                rates['find'].append(DUE / (time.monotonic() - begun))
                begun = time.monotonic()
                due.begin(server, account)
                due.wait(account)
                rates['retention'].append(DUE / (time.monotonic() - begun))
            uploads: dict[str, list[float]] = {'alone': [], 'beside': []}
            removed = []
            for account in range(rounds, 2 * rounds):
                uploads['alone'].append(uploaded(server))
                due.begin(server, account)
                uploads['beside'].append(uploaded(server))
                left = sum(due.path(account, n).exists() for n in range(DUE))
                removed.append((DUE - left) / UPLOADING)
                check(left, 'retention had ended before the uploads')
                due.wait(account)
        for what, found in {'files removed in a second': rates, 'uploads in a second': uploads, 'removed meanwhile': {'beside': removed}}.items():
            fact(f'{what}: {({name: [round(value) for value in values] for name, values in found.items()})}')
        median = statistics.median
        return median(rates['retention']) / median(rates['find']), median(uploads['beside']) / median(uploads['alone'])


def uploaded(server: Server) -> float:
    """The number of uploads in a second, by several clients."""
    counts = [0] * CLIENTS
    end = time.monotonic() + UPLOADING
    content = media(0, DUE_SIZE)

    def upload(number: int) -> None:
        with server.client() as client:
            while time.monotonic() < end:
                reply = client.put(Upload(f'up{number}/doc{time.time_ns()}/m.mp3', content))
                check(reply.status == 201, lambda: f'{reply}')
                counts[number] += 1

    for thread in [Thread(upload, number) for number in range(CLIENTS)]:
        thread.join(UPLOADING + 60)
    return sum(counts) / UPLOADING


def main(arguments: argparse.Namespace) -> None:
    files, rounds = (QUICK_FILES, QUICK_ROUNDS) if arguments.quick else (arguments.files, ROUNDS)
    times, mixed = speed(arguments, rounds)
    for name in ('export', 'ZIP file'):
        fact(f'{name}: {times["cp"] / times[name]:.2f} of the speed of cp -r, {times["cp and sync"] / times[name]:.2f} with sync -f')
    ratio = times['cp and sync'] / times['export']
    removed, beside = removal(arguments, rounds)
    fact(f'retention: {removed:.2f} of the speed of find -delete; uploads beside it: {beside:.2f} of their speed')
    few, many = memory(arguments, FEW), memory(arguments, files)
    for name, peak in many.items():
        fact(f'{name}: {peak:.1f} MiB with {files} files, {few[name]:.1f} MiB with {FEW}')
    for name, peak in mixed.items():
        fact(f'{name}: {peak:.1f} MiB with files of up to 1 MiB')
    over = [name for peaks, budget in ((many, BUDGET), (mixed, MIXED_BUDGET)) for name, peak in peaks.items() if peak - few[name] > budget]
    check(not over, lambda: f'more memory than the budget: {", ".join(over)}')
    check(ratio >= SPEED, lambda: f'an export has {ratio:.2f} of the speed of cp -r and sync -f')
    check(removed >= REMOVAL, lambda: f'retention has {removed:.2f} of the speed of find -delete')
    check(beside >= BESIDE, lambda: f'uploads beside retention have {beside:.2f} of their speed')


def prepare(parser: argparse.ArgumentParser) -> None:
    count = parser.add_mutually_exclusive_group()
    count.add_argument('--files', type=int, default=200_000)
    count.add_argument('--quick', action='store_true', help=f'{QUICK_FILES} files and fewer rounds, for three minutes')


if __name__ == '__main__':
    sys.exit(run(main, options(__doc__, prepare)))
