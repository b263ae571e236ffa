#!/usr/bin/env python3
"""Proves that acknowledged files survive failures of a Ceph cluster with three OSDs on disk, and of the server:

- one OSD is killed during uploads: no upload fails;
- a second one is killed: uploads, fetches and the credentials probe are refused within the deadline, so that KAZOO retries;
- both are restarted: the same server works again, with every acknowledged file and no part of a refused one;
- the server is killed during uploads: every file in the bucket is complete, and unfinished uploads are removed.

    python3 tests/system/cluster/faults.py PATH_TO_THE_SERVER        about two minutes
"""
from __future__ import annotations

import http.client
import itertools
import secrets
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import unquote

from ceph import BUCKET, S3, Cluster
from server import PREFIX, Client, File, Reply, Server, check, each, fact, probe, run

UPLOADS = 2000
THREADS = 32
DEADLINE = 5
# Tolerance beyond the deadline, for a machine that runs everything.
SLACK = 2
MIB = 1 << 20
MAX_ROUNDS = 6


def series(name: str, count: int) -> list[File]:
    """Files of 0 to 200 KiB, every third with metadata, and every ninth with long metadata, which is stored differently."""
    document = lambda n: 0 if n % 3 else 300 if n % 9 else 5000
    return [File.named(name, n, n * 7919 % (200 * 1024 + 1), document(n)) for n in range(count)]


def one_dies(cluster: Cluster, server: Server) -> list[File]:
    client, files = Client(server.address), series('one', UPLOADS)
    done, quarter = itertools.count(1), threading.Event()

    def upload(file: File) -> Reply:
        try:
            return file.put(client)
        finally:
            if next(done) == UPLOADS // 4:
                quarter.set()

    begun = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        replies = [pool.submit(upload, file) for file in files]
        quarter.wait(120)
        cluster.kill_osd(0)
        under_way = sum(not reply.done() for reply in replies)
    check(under_way, 'the OSD was killed when all uploads were done')
    check_all_stored([reply.result() for reply in replies], files)
    slowest = max(reply.result().seconds for reply in replies)
    took = time.monotonic() - begun
    fact(f'one OSD killed, {under_way} of {UPLOADS} uploads before their end: all acknowledged, {UPLOADS / took:.0f} a second, '
         f'the slowest after {slowest:.1f} s')
    took = check_right(client, cluster.s3(), files)
    fact(f'all {UPLOADS} read back right with their metadata, {UPLOADS / took:.0f} a second')
    return files


def check_all_stored(replies: list[Reply], files: list[File]) -> None:
    refused = [f'{file.path}: {reply.status} {reply.body!r}' for file, reply in zip(files, replies) if reply.status != 201]
    check(not refused, f'{len(refused)} uploads were refused, the first: {refused[:3]}')


def check_right(client: Client, s3: S3, files: list[File]) -> float:
    begun = time.monotonic()
    wrong = [what for what in each(16, lambda file: file.wrong(client) or wrong_metadata(s3, file), files) if what]
    check(not wrong, f'{len(wrong)} of {len(files)} files are wrong, the first: {wrong[:3]}')
    return time.monotonic() - begun


def wrong_metadata(s3: S3, file: File) -> str | None:
    """The fault in the stored metadata of a file: in a header, or after the content if it is long."""
    if file.metadata is None:
        return None
    headers, expected = s3.head(BUCKET, f'{PREFIX}/{file.path}'), file.metadata.encode()
    if headers is None:
        return f'{file.path} is not in the bucket'
    if headers['x-amz-meta-kazootrailer']:
        found = s3.get(BUCKET, f'{PREFIX}/{file.path}')[file.size:]
    else:
        found = unquote(headers['x-amz-meta-kazoometadata'] or '').encode()
    return None if found == expected else f'{file.path}: metadata are {found[:200]!r} and not {expected[:200]!r}'


def two_die(cluster: Cluster, server: Server, stored: list[File]) -> list[File]:
    """Returns the refused files."""
    cluster.kill_osd(1)
    noticed = cluster.wait_osds(1)
    refused = series('refused', 8) + [File.named('refused-long', 9, 12 * MIB)]
    client, (path, content) = Client(server.address), probe(secrets.token_hex(16))
    with ThreadPoolExecutor(32) as pool:
        uploads = [pool.submit(file.put, client) for file in refused]
        fetches = [pool.submit(client.get, file.path) for file in stored[:8]]
        fetches.append(pool.submit(client.get, f'{stored[9].path}/{stored[9].path}?id=1'))
        tried = pool.submit(client.put, path, content, None, 'text/plain')
    check_refusals('an upload', uploads, retry=True)
    check_refusals('a fetch', fetches, retry=True)
    check_refusals('the credentials probe', [tried], retry=False)
    slowest = [max(reply.result().seconds for reply in replies) for replies in (uploads, fetches, [tried])]
    fact(f'a second OSD killed (noticed after {noticed:.1f} s), deadline {DEADLINE} s: 503 as JSON to {len(uploads)} uploads within '
         f'{slowest[0]:.1f} s and to {len(fetches)} fetches within {slowest[1]:.1f} s, with Retry-After; to the probe within '
         f'{slowest[2]:.1f} s, without')
    return refused


def check_refusals(what: str, replies: list[Future[Reply]], retry: bool) -> None:
    for reply in (future.result() for future in replies):
        found = f'{reply.status} after {reply.seconds:.1f} s, {dict(reply.headers)}, {reply.body[:300]!r}'
        check(reply.status == 503, f'{what} with one OSD of three was not answered with 503: {found}')
        check(reply.headers['content-type'] == 'application/json', f'the answer to {what} is not JSON: {found}')
        after = reply.headers['retry-after']
        if retry:
            # KAZOO's client accepts at most two digits.
            check(after and after.isdigit() and 1 <= int(after) <= 99, f'no Retry-After for {what} that KAZOO understands: {found}')
        else:
            check(after is None, f'Retry-After for {what}, on which an administrator waits: {found}')
        check(reply.seconds <= DEADLINE + SLACK, f'{what} was answered after the deadline of {DEADLINE} s: {found}')


def both_return(cluster: Cluster, server: Server, stored: list[File], refused: list[File]) -> None:
    client, begun = Client(server.address), time.monotonic()
    cluster.start_osd(0)
    cluster.start_osd(1)
    up = cluster.wait_osds(3)
    for n in itertools.count():
        file = File.named('again', n, 1000)
        if file.put(client).status == 201:
            break
        check(time.monotonic() - begun < 90, 'no upload works 90 s after both OSDs were started')
        time.sleep(0.2)
    works = time.monotonic() - begun
    fact(f'both OSDs started: up after {up:.1f} s, and an upload is acknowledged after {works:.1f} s by the server that ran all along')
    check_right(client, cluster.s3(), [*stored, file])
    path, content = probe(secrets.token_hex(16))
    check(client.put(path, content, None, 'text/plain').status == 201, 'the credentials probe fails')
    fact(f'all {len(stored)} acknowledged before are right')
    absent = sum(client.get(file.path).status == 404 for file in refused)
    wrong = [what for file in refused if (what := file.wrong(client)) and ': 404 ' not in what]
    check(not wrong, f'refused uploads are there in part: {wrong}')
    fact(f'of {len(refused)} refused, {absent} are absent and {len(refused) - absent} whole')
    fact(f'{len(leftovers(cluster.s3()))} objects of checks are left in the bucket')


def leftovers(s3: S3) -> list[str]:
    return [key for key, _ in s3.list(BUCKET, f'{PREFIX}/%')]


def server_dies(cluster: Cluster, binary: str) -> None:
    acknowledged: list[File] = []
    for number in range(MAX_ROUNDS):
        with Server(binary, cluster) as server:
            acknowledged += uploads_until_killed(server, number)
        # The gateway may still complete requests sent before.
        time.sleep(0.5)
        unfinished = cluster.s3().multipart_uploads(BUCKET)
        if unfinished:
            break
    fact(f'the server killed in the middle of uploads, {number + 1} times: {len(acknowledged)} were acknowledged, '
         f'{sum(file.size > MIB for file in acknowledged)} of them of 12 MiB')
    check(len(acknowledged) > 16, 'too few were acknowledged to say anything')
    with Server(binary, cluster) as server:
        client, s3 = Client(server.address), cluster.s3()
        check_right(client, s3, acknowledged)
        fact('a new server has each of them right')
        of_checks = leftovers(s3)
        visible = [File.of(key.removeprefix(f'{PREFIX}/')) for key, _ in s3.list(BUCKET, f'{PREFIX}/') if key not in of_checks]
        check_right(client, s3, visible)
        more = len({file.path for file in visible if '/killed' in file.path} - {file.path for file in acknowledged})
        fact(f'all {len(visible)} objects in the bucket are whole, with {more} that had not been acknowledged yet')
        check_sweep(cluster, unfinished)
        check_right(client, s3, acknowledged)


def uploads_until_killed(server: Server, number: int) -> list[File]:
    """Uploads from 16 threads, every fourth of which sends long files, until the server is killed. Returns the acknowledged files."""
    client, acknowledged = Client(server.address), []

    def upload(thread: int) -> None:
        for n in itertools.count():
            size, document = (12 * MIB, 300) if thread % 4 == 0 else (n * 7919 % 100_000, 300 * (n % 2))
            file = File.named(f'killed{number}.{thread}', n, size, document)
            try:
                reply = file.put(client)
            except (OSError, http.client.HTTPException):
                return
            check(reply.status == 201, f'{file.path}: {reply.status} {reply.body!r}')
            acknowledged.append(file)

    with ThreadPoolExecutor(16) as pool:
        threads = [pool.submit(upload, thread) for thread in range(16)]
        # A different moment in each round.
        time.sleep(2.5 + 0.37 * number)
        server.kill()
    for thread in threads:
        thread.result()
    return acknowledged


def check_sweep(cluster: Cluster, unfinished: list[str]) -> None:
    if not unfinished:
        fact(f'no multipart upload was unfinished in {MAX_ROUNDS} rounds: nothing to sweep')
        return
    cluster.s3().abort_uploads_after(BUCKET, days=1)
    # A day takes a second on the cluster.
    time.sleep(2)
    cluster.sweep()
    left = cluster.s3().multipart_uploads(BUCKET)
    check(not left, f'the sweep left multipart uploads: {left}')
    fact(f'{len(unfinished)} multipart uploads were unfinished, and none is after the sweep by the lifecycle rule')


def main(binary: str) -> None:
    begun = time.monotonic()
    with Cluster() as cluster:
        fact(f'three OSDs and a gateway, started in {time.monotonic() - begun:.1f} s')
        with Server(binary, cluster, deadline=DEADLINE) as server:
            stored = one_dies(cluster, server)
            refused = two_die(cluster, server, stored)
            both_return(cluster, server, stored, refused)
            check(server.stop() == 0, 'the server did not end well')
        server_dies(cluster, binary)


if __name__ == '__main__':
    sys.exit(run(main, sys.argv[1:], __doc__))
