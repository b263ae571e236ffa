#!/usr/bin/env python3
"""Measures the overhead of the server: uploads and fetches of 64 KiB through it and, with the same client, directly to the S3 gateway.

    python3 tests/system/cluster/ratio.py PATH_TO_THE_SERVER        about a minute and a half, needs wrk

The two sides take turns, and each ratio compares neighbouring turns, because absolute figures depend on the machine. The client is
wrk with 8 connections. Its requests to the gateway are signed beforehand like those of the server, headers and body, so that the gateway does
the same work for both. Then the server runs with `--presign` and redirects fetches to the gateway: its answer is a head and
nothing else.
"""
from __future__ import annotations

import http.client
import random
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from ceph import BUCKET, Cluster, Failed
from server import MOUNT, PREFIX, Client, Server, check, each, fact, run

SIZE = 64 * 1024
ROUNDS = 8
SECONDS = 2
# More than either side stores in a turn, so that no name is repeated.
NAMES = 4000
STORED = 500

# Arguments: the method; a file with a target and its headers in each line; a file with the body.
LUA = '''
function init(args)
   method, requests, next_request = args[1], {}, 0
   for line in io.lines(args[2]) do
      local fields = {}
      for field in line:gmatch("[^\\t]+") do fields[#fields + 1] = field end
      local headers = { ["content-type"] = "audio/mpeg" }
      for i = 2, #fields, 2 do headers[fields[i]] = fields[i + 1] end
      requests[#requests + 1] = { fields[1], headers }
   end
   if args[3] then
      local file = assert(io.open(args[3], "rb"))
      body = file:read("*a")
      file:close()
   end
end

function request()
   next_request = next_request % #requests + 1
   local target, headers = unpack(requests[next_request])
   return wrk.format(method, target, headers, body)
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("RESULT %d %.6f %d\\n", summary.requests, summary.duration / 1e6,
      e.connect + e.read + e.write + e.status + e.timeout))
end
'''


class Bench:
    def __init__(self, cluster: Cluster):
        self.cluster, self.s3 = cluster, cluster.s3()
        self.script, self.body, self.turns = cluster.directory / 'wrk.lua', cluster.directory / 'body', 0
        self.script.write_text(LUA)
        self.body.write_bytes(random.Random(1).randbytes(SIZE))

    def name(self, turn: int | str, n: int) -> str:
        return f'{n % 16:032x}/202611-{n:032x}/{turn}.mp3'

    def ours(self, method: str, server: Server, turn: int | str, count: int) -> float:
        return self.rate(method, f'http://{server.address}', [f'{MOUNT}/{self.name(turn, n)}' for n in range(count)])

    def direct(self, method: str, turn: int | str, count: int) -> float:
        body = self.body.read_bytes() if method == 'PUT' else b''
        signed = (self.s3.signed(method, f'/{BUCKET}/{PREFIX}/{self.name(turn, n)}', body=body) for n in range(count))
        lines = ['\t'.join([target, *(text for header in headers.items() for text in header)]) for target, headers in signed]
        return self.rate(method, self.cluster.endpoint, lines)

    def rate(self, method: str, base: str, lines: list[str]) -> float:
        """Requests per second."""
        path = self.cluster.directory / 'requests'
        path.write_text('\n'.join(lines))
        command = ['wrk', '-t1', '-c8', f'-d{SECONDS}s', '--timeout', '30s', '-s', str(self.script), base, '--', method, str(path)]
        done = subprocess.run(command + [str(self.body)] * (method == 'PUT'), capture_output=True, text=True)
        result = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith('RESULT')]
        if not result:
            raise Failed(f'no result of {command}: {done.stdout} {done.stderr}')
        requests, seconds, errors = int(result[0][0]), float(result[0][1]), int(result[0][2])
        check(requests and not errors, f'{errors} of {requests} requests failed: {command}')
        return requests / seconds

    def row(self, what: str, ours: Callable[[int], float], direct: Callable[[int], float], rounds: int = ROUNDS) -> None:
        """Measures one ratio. Both functions take the unique number of the turn."""
        ratios = []
        for n in range(-1, rounds):
            self.turns += 2
            ratio = ours(self.turns) / direct(self.turns + 1)
            # The first turn is a warm-up.
            ratios += [ratio] * (n >= 0)
        fact(f'{what}: ours is {statistics.median(ratios):.2f} of the gateway itself ({min(ratios):.2f} to {max(ratios):.2f})')


def ratios(bench: Bench, server: Server) -> None:
    bench.row('upload of 64 KiB, new names', lambda turn: bench.ours('PUT', server, turn, NAMES),
              lambda turn: bench.direct('PUT', turn, NAMES))
    client, body = Client(server.address), bench.body.read_bytes()
    statuses = each(8, lambda n: client.put(bench.name('stored', n), body).status, range(STORED))
    check(set(statuses) == {201}, f'uploads were answered with {set(statuses)}')
    bench.row('fetch of 64 KiB', lambda _: bench.ours('GET', server, 'stored', STORED), lambda _: bench.direct('GET', 'stored', STORED))
    bench.row('upload of 64 KiB in the place of a file', lambda _: bench.ours('PUT', server, 'stored', STORED),
              lambda _: bench.direct('PUT', 'stored', STORED), rounds=3)


def redirects(bench: Bench, server: Server) -> None:
    """Checks that a redirected fetch passes only a head through the server."""
    expected, sent = bench.body.read_bytes(), []
    for n in range(100):
        head, body = exchange(server, f'{MOUNT}/{bench.name("stored", n)}')
        check(head.startswith(b'HTTP/1.1 302 '), f'a fetch with --presign was answered with {head!r}')
        check(body == b'', f'the redirect has a body of {len(body)} bytes')
        sent.append(len(head))
        location = re.search(r'(?im)^location: (\S+)', head.decode())
        check(location and location[1].startswith(f'{bench.cluster.endpoint}/'), f'the redirect does not lead to the gateway: {head!r}')
        status, found = follow(location[1])
        check(status == 200 and found == expected, f'behind the redirect: {status}, {len(found)} bytes, {found[:200]!r}')
    fact(f'with --presign: {len(sent)} fetches were redirected and had the right {SIZE} bytes from the gateway; the server sent '
         f'{statistics.mean(sent):.0f} bytes each, all of them head')


def exchange(server: Server, target: str) -> tuple[bytes, bytes]:
    """The head and the body of an answer, to the end of the connection."""
    host, _, port = server.address.rpartition(':')
    with socket.create_connection((host, int(port)), timeout=30) as s:
        s.sendall(f'GET {target} HTTP/1.1\r\nhost: {server.address}\r\nconnection: close\r\n\r\n'.encode())
        answer = b''
        while data := s.recv(65536):
            answer += data
    head, _, body = answer.partition(b'\r\n\r\n')
    return head, body


def follow(location: str) -> tuple[int, bytes]:
    url = urlsplit(location)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    try:
        connection.request('GET', f'{url.path}?{url.query}')
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def main(binary: str) -> None:
    with Cluster('memstore') as cluster:
        bench = Bench(cluster)
        with Server(binary, cluster) as server:
            ratios(bench, server)
        with Server(binary, cluster, '--presign', '60') as server:
            redirects(bench, server)


if __name__ == '__main__':
    sys.exit(run(main, sys.argv[1:], __doc__))
