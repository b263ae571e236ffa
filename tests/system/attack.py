#!/usr/bin/env python3
"""Attacks a server, and proves that ordinary uploads are not affected and nothing is left behind.

    tests/system/attack.py PATH_TO_THE_SERVER [--quick]        Linux

A thousand connections send a head and a thousand a body, a byte per second, while ordinary clients upload and fetch files. Then
four addresses hold every permit of the server with uploads that are barely fast enough. Then
uploads are aborted in many ways, and file descriptors, staged files, threads and memory return to their former level.
"""
import argparse
import asyncio
import os
import random
import resource
import socket
import struct
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('server', help='path to the program, `target/release/kazoo-storage`')
parser.add_argument('--quick', action='store_true', help='fewer connections, for a minute')
OPTIONS = parser.parse_args()
QUICK = OPTIONS.quick
SLOW = 200 if QUICK else 1_000
ABORTED = 2_000 if QUICK else 10_000
ROUNDS = 2
SECONDS = 3 if QUICK else 35
CLIENTS = 4
# Each attacker has its own loopback address.
ORDINARY, SLOW_HEADS, SLOW_BODIES, ABORTING = '127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'
LOCKING_OUT = ['127.0.0.5', '127.0.0.6', '127.0.0.7', '127.0.0.8']
# The default limit of requests per address.
SHARE = 512
# Memory that the allocator keeps, independent of the number of aborted uploads.
RSS_BOUND = 64 << 20
BODY = bytes(range(256)) * 100


class Server:
    def __init__(self, path, root):
        command = [path, 'serve', '--listen', '127.0.0.1:0', '--store', root]
        self.root = root
        self.log = open(f'{root}.log', 'wb')
        environment = os.environ | {'RUST_LOG': 'off'}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)
        self.port = int(self.process.stdout.readline().rsplit(':', 1)[1])

    def proc(self, name):
        return f'/proc/{self.process.pid}/{name}'

    def status(self, field):
        for line in open(self.proc('status')):
            if line.startswith(field + ':'):
                return int(line.split()[1])
        raise KeyError(field)

    def figures(self):
        staged = sum('-' in name for name in os.listdir(f'{self.root}/.stage'))
        return {'descriptors': len(os.listdir(self.proc('fd'))), 'staged': staged, 'threads': self.status('Threads'),
                'rss': self.status('VmRSS') << 10}

    async def connect(self, source):
        return await asyncio.open_connection('127.0.0.1', self.port, local_addr=(source, 0))


def head(target, len):
    return (f'PUT /some_prefix/{target} HTTP/1.1\r\nhost: x\r\ncontent-type: audio/mpeg\r\ncontent-length: {len}\r\n\r\n').encode()


async def answer(reader):
    text = await reader.readuntil(b'\r\n\r\n')
    status = int(text.split(b' ', 2)[1])
    length = [line for line in text.lower().split(b'\r\n') if line.startswith(b'content-length:')]
    if length:
        return status, text, await reader.readexactly(int(length[0].split(b':')[1]))
    body = b''
    while b'transfer-encoding: chunked' in text.lower():
        size = int(await reader.readuntil(b'\r\n'), 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            break
    return status, text, body


async def ordinary(server, name, seconds):
    """Uploads and fetches in turn. Returns the duration of each upload."""
    took = []
    reader, writer = await server.connect(ORDINARY)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        target = f'ACC/{name}/{len(took)}.mp3'
        begun = time.monotonic()
        writer.write(head(target, len(BODY)) + BODY)
        status, text, _ = await answer(reader)
        took.append(time.monotonic() - begun)
        assert status == 201, text
        writer.write(f'GET /some_prefix/{target} HTTP/1.1\r\nhost: x\r\n\r\n'.encode())
        status, text, body = await answer(reader)
        assert status == 200 and body == BODY, text
    writer.close()
    return took


async def retrying(server, seconds):
    """Uploads, and retries when the server asks for it. Returns the number of retries of each upload."""
    waits = []
    reader, writer = await server.connect(ORDINARY)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        waits.append(0)
        while True:
            writer.write(head(f'ACC/retrying/{len(waits)}.mp3', len(BODY)) + BODY)
            status, text, _ = await answer(reader)
            if status == 201:
                break
            assert status == 503 and b'\r\nretry-after: 1\r\n' in text.lower(), text
            waits[-1] += 1
            await asyncio.sleep(1)
    writer.close()
    return waits


async def hold(server, source, tally):
    """Repeats an upload that delivers its kibibyte just in time."""
    while True:
        reader, writer = await server.connect(source)
        answered = asyncio.create_task(reader.read(4096))
        try:
            writer.write(head('ACC/LOCKOUT/a.mp3', 10_000_000))
            while not answered.done():
                writer.write(bytes(1_100))
                await asyncio.wait([answered], timeout=20)
            status = answered.result().split(b' ', 2)[1].decode() if answered.result() else 'closed'
            writer.close()
        except OSError:
            status = 'reset'
        except asyncio.CancelledError:
            answered.cancel()
            writer.transport.abort()
            raise
        tally[status] = tally.get(status, 0) + 1
        await asyncio.sleep(1)


async def lockout(server, before):
    """Holds every place. `before` is the number of descriptors of an idle server."""
    tally, deadline = {}, time.monotonic() + 60
    # The server still closes the connections of an earlier attack, and these are not to be counted.
    while len(os.listdir(server.proc('fd'))) > before:
        assert time.monotonic() < deadline, 'the server does not close connections'
        await asyncio.sleep(0.1)
    holds = [asyncio.create_task(hold(server, source, tally)) for source in LOCKING_OUT for _ in range(SHARE)]
    while len(os.listdir(server.proc('fd'))) < before + len(holds) * 0.95:
        assert time.monotonic() < deadline + 60, 'the slow uploads do not get their places'
        await asyncio.sleep(0.1)
    waits = await retrying(server, 10 if QUICK else 60)
    for one in holds:
        one.cancel()
    await asyncio.gather(*holds, return_exceptions=True)
    print(f'uploads while {len(holds)} slow ones hold every place: {len(waits)} stored, sent again at most {max(waits)} times; what the '
          f'slow ones got: {tally}')
    assert len(waits) > 5 and max(waits) < 10, waits


async def drip(server, source, first, rest, tally):
    """Repeats a request that is sent at a byte per second."""
    while True:
        reader, writer = await server.connect(source)
        try:
            answered = asyncio.create_task(reader.read(4096))
            writer.write(first)
            for at in range(len(rest)):
                await asyncio.wait([answered], timeout=1)
                if answered.done():
                    break
                writer.write(rest[at:at + 1])
                await writer.drain()
            text = await asyncio.wait_for(answered, 60)
            status = text.split(b' ', 2)[1].decode() if text else 'closed'
        except OSError:
            status = 'reset'
        except asyncio.CancelledError:
            answered.cancel()
            writer.transport.abort()
            raise
        tally[status] = tally.get(status, 0) + 1
        writer.close()


def percentiles(took):
    took.sort()
    return tuple(took[int(len(took) * share)] * 1000 for share in (0.5, 0.99))


async def slowloris(server):
    quiet, attacked, tally = [], [], {}
    for round in range(ROUNDS):
        for kind, found in (('quiet', quiet), ('attacked', attacked)):
            drips = []
            if kind == 'attacked':
                for number in range(SLOW):
                    long = b'x-header: ' + b'x' * 600
                    drips.append(drip(server, SLOW_HEADS, b'PUT /some_prefix/A/B/C HTTP/1.1\r\n', long, tally))
                    drips.append(drip(server, SLOW_BODIES, head(f'ACC/SLOW/{number}.mp3', 600), b'x' * 600, tally))
            drips = [asyncio.create_task(one) for one in drips]
            # All of them are connected before the first upload.
            while drips and len(os.listdir(server.proc('fd'))) < 2 * SLOW:
                await asyncio.sleep(0.1)
            took = await asyncio.gather(*[ordinary(server, f'{kind}-{round}-{client}', SECONDS) for client in range(CLIENTS)])
            found.extend(one for client in took for one in client)
            for one in drips:
                one.cancel()
            await asyncio.gather(*drips, return_exceptions=True)
    for kind, found in (('without the attack', quiet), ('under it', attacked)):
        p50, p99 = percentiles(found)
        print(f'uploads {kind}: {len(found)}, all stored and read back, p50 {p50:.1f} ms, p99 {p99:.1f} ms')
    print(f'what {2 * SLOW} slow connections got while they lasted: {tally or "nothing yet"}')
    return attacked


async def abort(server, number):
    """Aborts one upload, in a way that depends on `number`."""
    reader, writer = await server.connect(ABORTING)
    whole = head(f'ACC/ABORTED/{number}.mp3', 200_000)
    parts = b'--B\r\ncontent-type: application/json\r\n\r\n{"id":"x"}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\n' + bytes(50_000)
    multipart = whole.replace(b'audio/mpeg', b'multipart/form-data; boundary=B')
    chunked = whole.replace(b'content-length: 200000', b'transfer-encoding: chunked')
    begun = [whole[:20], whole, whole + bytes(random.randrange(200_000)), multipart + parts[:30], multipart + parts,
             chunked + b'c350\r\n' + bytes(50_000) + b'\r\n', chunked + b'c350\r\n' + bytes(20_000), b'']
    writer.write(begun[number // 2 % len(begun)])
    await writer.drain()
    if number % 2:
        linger = struct.pack('ii', 1, 0)
        writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.write_eof()
        try:
            await asyncio.wait_for(reader.read(), 20)
        except OSError:
            pass
        writer.close()


async def aborted(server):
    at_once = asyncio.Semaphore(200)

    async def one(number):
        async with at_once:
            await abort(server, number)
    await asyncio.gather(*[one(number) for number in range(ABORTED)])


async def settled(server, bounds):
    """Waits until the figures are within their bounds, or for a while. Returns them."""
    for _ in range(450):
        after = server.figures()
        if all(after[name] <= bound for name, bound in bounds.items()):
            break
        # The allocator returns freed memory while it is used.
        await ordinary(server, 'settling', 0.05)
        await asyncio.sleep(0.05)
    return after


async def attack(server):
    # The first uploads open and allocate what stays for later ones.
    await asyncio.gather(*[ordinary(server, f'first-{client}', 1) for client in range(CLIENTS * 20)])
    await aborted(server)
    await asyncio.sleep(1)
    # The number of the runtime's disk threads follows the load and is bounded. The others are the main thread, the workers, that of the
    # journal, and three of the ledger.
    before = server.figures() | {'threads': 64 + os.cpu_count() + 5}
    slow = await slowloris(server)
    assert slow
    await lockout(server, before['descriptors'])
    begun = time.monotonic()
    await aborted(server)
    print(f'aborted uploads: {ABORTED} in {time.monotonic() - begun:.1f} s')
    bounds = before | {'rss': before['rss'] + RSS_BOUND}
    after = await settled(server, bounds)
    for name, bound in bounds.items():
        print(f'{name}: {before[name]} before, {after[name]} after')
        assert after[name] <= bound, f'{name} over {bound}'
    took = await ordinary(server, 'last', 1)
    assert took
    files = os.listdir(f'{server.root}/ACC')
    assert not {'ABORTED', 'SLOW', 'LOCKOUT'} & set(files), files


def main(path):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as directory:
        server = Server(path, f'{directory}/root')
        try:
            asyncio.run(attack(server))
            assert server.process.poll() is None
        finally:
            server.process.terminate()
            server.process.wait(60)


if __name__ == '__main__':
    main(OPTIONS.server)
