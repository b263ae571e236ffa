#!/usr/bin/env python3
"""The tables of docs/scaling.md, counted from assumptions that are flags.

    python3 docs/scaling.py                                     prints the tables as the page shows them
    python3 docs/scaling.py --rate 40 --rate 900 --size 300     prints them for your figures
    python3 docs/scaling.py --page docs/scaling.md              puts them into the page, in the place of the old ones

Units: KiB and MiB are powers of 1024; MB, GB, TB and PB are powers of 1000; a month has 30 days. Network figures are files alone: add 5 %
for what is around them. The same flags give the same tables: the simulation begins with --seed.
"""
from __future__ import annotations

import argparse
import heapq
import itertools
import math
import pathlib
import random
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

KIB, MIB, DAY = 1024, 1024 ** 2, 86_400
PART = 5 * MIB
# What an upload takes in a server's memory beside its content, at most; and a long one, of which two parts are held.
ROAD, LONG = 256 * KIB, 256 * KIB + 2 * PART
# The limits of one partitioned prefix of Amazon's S3, requests a second.
S3_PUTS, S3_GETS = 3500, 5500
# Ceph's defaults: objects in one shard of a bucket's index, shards that it makes by itself, and requests that one gateway has under way.
SHARD, SHARDS, GATEWAY = 100_000, 1999, 1024
# How Ceph cuts: the unit of a disk's allocation, and of a stripe of erasure code.
UNIT = 4 * KIB
RETRY_AFTER = 5


# -- what the arithmetic settles

class Scheme(NamedTuple):
    """How the engine keeps an object: as copies (m is 0), or as k shards and m of parity."""

    k: int
    m: int

    @property
    def name(self) -> str:
        return f'EC {self.k}+{self.m}' if self.m else f'{self.k} copies'

    @property
    def width(self) -> int:
        """How many nodes a write waits for."""
        return self.k + self.m

    @property
    def reads(self) -> int:
        """How many disks a fetch of a whole object reads from."""
        return self.k if self.m else 1

    def raw(self, size: int) -> int:
        """What an object of this size takes on the disks. A stripe is filled up."""
        stripe = UNIT * self.k if self.m else UNIT
        return math.ceil(size / stripe) * UNIT * self.width

    def disks(self, a: argparse.Namespace, rate: float) -> tuple[int, int]:
        """How many disks it takes to hold the bytes, and how many to do the requests."""
        held = rate * DAY * a.days * self.raw(a.size * KIB)
        asked = rate * (self.width + self.reads * a.fetches)
        return math.ceil(held / (a.disk * 1e12)), math.ceil(asked / a.disk_requests)


def schemes(a: argparse.Namespace) -> list[Scheme]:
    return [Scheme(a.copies, 0), *a.ec]


@dataclass
class Plan:
    """What a rate of uploads takes."""

    a: argparse.Namespace
    rate: float

    def __post_init__(self) -> None:
        a, self.size = self.a, self.a.size * KIB
        self.gets = self.rate * a.fetches
        # In and out are the same: what comes in from one side goes out to the other.
        self.bits = 8 * self.size * (self.rate + (0 if a.presign else self.gets))
        by_cpu = self.rate / a.server_puts + (0 if a.presign else self.gets / a.server_gets)
        by_link = self.bits / (a.link * 1e9)
        self.balancers = math.ceil(by_link / a.load) + 1
        self.objects_a_day = self.rate * DAY
        self.objects = self.objects_a_day * a.days
        self.clusters = max(1, math.ceil(self.objects / a.cluster_objects), math.ceil(self.rate / a.cluster_puts))
        # Each cluster has servers of its own.
        self.servers_of_one = math.ceil(max(by_cpu, by_link) / a.load / self.clusters) + 2
        self.shards = math.ceil(self.objects / SHARD)
        self.partitions = max(1, math.ceil(self.rate / S3_PUTS), math.ceil(self.gets / S3_GETS))
        # Little's law: a node that is not answering keeps its share of one cluster's uploads waiting until it is marked down.
        self.waiting = self.rate / self.clusters * min(1, a.copies / a.nodes) * a.detect
        self.memory = self.waiting * in_memory(self.size) / self.servers_of_one
        self.gateways = math.ceil(self.waiting / GATEWAY) + 1


def requests(size: int) -> int:
    """What one upload asks of the engine: a conditional PUT; or HEAD, begin, the parts and complete."""
    return 1 if size <= PART else 3 + math.ceil(size / PART)


def in_memory(size: int) -> int:
    return ROAD + size if size <= PART else LONG


def plan(a: argparse.Namespace) -> list[str]:
    plans = [Plan(a, rate) for rate in a.rate]

    def row(what: str, cell) -> list[str]:
        return [what, *(cell(p) for p in plans)]

    month = 30 * DAY
    rows = [
        row(f'objects a day, after {a.days} days', lambda p: f'{count(p.objects_a_day)}, {count(p.objects)}'),
        row(f'bytes a day, after {a.days} days', lambda p: f'{size_of(p.objects_a_day * p.size)}, {size_of(p.objects * p.size)}'),
        row('**Ceph clusters**', lambda p: count(p.clusters)),
        row('**servers**, N+2 for each cluster', lambda p: count(p.clusters * p.servers_of_one)),
        row('into all servers, and as much out of them', lambda p: bits(p.bits)),
        row('load balancers, N+1, by their links', lambda p: count(p.balancers)),
        row('requests to the engine a month: for uploads, for fetches',
            lambda p: f'{count(p.rate * month * requests(p.size))}, {count(p.gets * month * (2 if a.presign else 1))}'),
        row(f'shards of bucket indexes; buckets of at most {SHARDS}',
            lambda p: f'{count(p.shards)}; {count(math.ceil(p.shards / SHARDS))}'),
    ]
    for s in schemes(a):
        ratio = s.raw(a.size * KIB) / (a.size * KIB)
        rows.append(row(f'{s.name} ({ratio:.2f} ×): onto disks, held after {a.days} days; disks for the bytes / for the requests',
                        lambda p: f'{bits(8 * p.rate * s.raw(p.size))}, {size_of(p.objects * s.raw(p.size))}; '
                                  + ' / '.join(count(n) for n in s.disks(a, p.rate))))
    rows += [
        row('Amazon: partitioned prefixes', lambda p: count(p.partitions)),
        row('uploads that wait for a dead node of a cluster; gateways for them, N+1',
            lambda p: f'{count(math.ceil(p.waiting))}; {p.gateways}'),
        row('each server then: memory, file descriptors',
            lambda p: f'{memory(p.memory)}, {count(math.ceil(2 * p.waiting / p.servers_of_one))}'),
    ]
    return table(['voicemails a second', *(count(rate) for rate in a.rate)], rows)


def assumptions(a: argparse.Namespace) -> list[str]:
    ec = ' '.join(f'--ec {s.k}+{s.m}' for s in a.ec)
    return table(['counted with', 'flags'], [
        [f'{a.size} KiB = {digits(a.size * KIB)} bytes a voicemail, each fetched {number(a.fetches)} ×, kept {a.days} days',
         f'`--size {a.size} --fetches {number(a.fetches)} --days {a.days}`'],
        [f'a server does {count(a.server_puts)} uploads or {count(a.server_gets)} fetches a second, has {number(a.link)} Gbit/s, and is '
         f'planned for {whole(a.load)} of that',
         f'`--server-puts {number(a.server_puts)} --server-gets {number(a.server_gets)} --link {number(a.link)} --load {number(a.load)}`'],
        [f'the engine keeps {a.copies} copies' + ''.join(f', or {s.name}' for s in a.ec) + f', on {a.nodes} nodes; others do the work of a '
         f'dead one after {number(a.detect)} s',
         f'`--copies {a.copies} {ec} --nodes {a.nodes} --detect {number(a.detect)}`'],
        [f'a disk holds {number(a.disk)} TB and does {number(a.disk_requests)} requests a second in good time; a Ceph cluster has at most '
         f'{count(a.cluster_objects)} objects and {count(a.cluster_puts)} uploads a second',
         f'`--disk {number(a.disk)} --disk-requests {number(a.disk_requests)} --cluster-objects {a.cluster_objects / 1e9:g}e9 '
         f'--cluster-puts {number(a.cluster_puts)}`'],
        [f'the simulation: {count(a.sim_rate)} uploads a second, 4 gateways of {GATEWAY} requests each, 2 servers',
         f'`--sim-rate {number(a.sim_rate)} --deadline {number(a.deadline)}`'],
    ])


def costs(a: argparse.Namespace) -> list[str]:
    """What an upload costs in a cloud until it is deleted, where prices are to each other as --price says."""
    put, get, month = a.price
    rows = []
    for size in sorted({16, a.size, 1024}):
        held = size * KIB / 1024 ** 3 * month * a.days / 30
        asked = put * requests(size * KIB)
        total = asked + get * a.fetches + held
        rows.append([f'{size} KiB for {a.days} days', *(whole(part / total) for part in (asked, get * a.fetches, held)),
                     f'{put / month * 1024 ** 2 / size * 30:.0f}'])
    return table(['cost of a voicemail', 'PUT', f'{number(a.fetches)} GET', 'storage', 'days of storage for the price of the PUT'], rows)


# -- what it does not: the time until a voicemail is stored while the engine has a fault

class Case(NamedTuple):
    """A minute of uploads, at whose beginning the fault begins."""

    name: str
    fault: str = ''
    # How long the fault lasts, in seconds.
    lasts: float = 60
    # How much of what its nodes could do the engine does before the fault.
    load: float = 0.05
    width: int = 3
    # How many of its nodes a write waits for, if not for all.
    quorum: int | None = None
    deadline: float = 30
    gateways: int = 4
    servers: int = 2
    # Connections that one server may have; an upload takes two.
    files: int = 1_000_000


class Result(NamedTuple):
    # Until KAZOO has its 201, in order.
    times: list[float]
    # The share that was answered with 503 and came again.
    again: float
    # The most uploads at one time, and the most that servers had accepted.
    most: int
    accepted: int


@dataclass(slots=True, eq=False)
class Upload:
    begun: float
    nodes: tuple[int, ...]
    tries: int = 0
    stored: float = math.nan


@dataclass(slots=True, eq=False)
class Try:
    """What a server does to have an upload stored, until its deadline."""

    upload: Upload
    server: int
    begun: float
    pauses: Iterator[float]
    waited_for: bool = True


@dataclass
class Simulation:
    """Servers that take turns, gateways with a limited number of requests under way, and nodes that each do some writes at a time.

    As in Ceph, where an object is follows from its name, so a second try meets the same nodes; and a write is acknowledged when all of
    its nodes have it. A write that a server no longer waits for is done all the same, and keeps its place in the gateway until then.
    A gateway that has no place answers with 503, and the server asks again a few times.
    When a dead node is marked down, the gateways send to the others what waited for it.
    """

    case: Case
    a: argparse.Namespace
    # The node with the fault is the first one, and the fault begins at this second.
    BAD, BEGIN, MINUTE, AFTER = 0, 5.0, 60.0, 45.0
    # The time of one write to one node: half take less than this, a hundredth more than five times as long.
    MEDIAN, SIGMA = 0.008, 0.7
    # What the rest of the way takes.
    WAY = 0.003
    ARRIVES, ASKS, DONE, LATE, DOWN = range(5)

    events: list = field(default_factory=list)
    order: itertools.count = field(default_factory=itertools.count)
    hung: list[Try] = field(default_factory=list)
    at_gateways: int = 0
    connections: int = 0
    most: int = 0
    accepted: int = 0

    def __post_init__(self) -> None:
        case, a = self.case, self.a
        self.random = random.Random(a.seed)
        self.end = self.BEGIN + case.lasts
        mean = self.MEDIAN * math.exp(self.SIGMA ** 2 / 2)
        writers = max(1, round(a.sim_rate * case.width / a.nodes * mean / case.load))
        self.nodes = [[0.0] * writers for _ in range(a.nodes)]
        # Every node has the same share of them.
        bases = [self.random.sample(range(a.nodes), case.width) for _ in range(64)]
        self.groups = [tuple((node + turn) % a.nodes for node in base) for base in bases for turn in range(a.nodes)]
        self.places = case.gateways * GATEWAY
        self.busy = [0] * case.servers
        self.backlog: list[deque[Upload]] = [deque() for _ in range(case.servers)]
        self.turn = itertools.cycle(range(case.servers))

    def run(self) -> Result:
        uploads, now = [], 0.0
        while (now := now + self.random.expovariate(self.a.sim_rate)) < max(self.BEGIN + self.MINUTE, self.end) + self.AFTER:
            uploads.append(Upload(now, self.random.choice(self.groups)))
            self.at(now, self.ARRIVES, uploads[-1])
        if self.case.fault == 'dead':
            self.at(self.end, self.DOWN, None)
        handlers = [self.arrives, self.asks, self.done, self.late, self.down]
        while self.events:
            now, _, kind, what = heapq.heappop(self.events)
            handlers[kind](now, what)
        measured = [u for u in uploads if self.BEGIN <= u.begun < self.BEGIN + self.MINUTE]
        times = sorted(u.stored - u.begun + self.WAY for u in measured)
        return Result(times, sum(u.tries > 1 for u in measured) / len(measured), self.most, self.accepted)

    def at(self, when: float, kind: int, what: object) -> None:
        heapq.heappush(self.events, (when, next(self.order), kind, what))

    def arrives(self, now: float, upload: Upload) -> None:
        server = next(self.turn)
        self.connections += 1
        self.most = max(self.most, self.connections)
        if self.busy[server] < self.case.files // 2:
            self.begin(now, upload, server)
        else:
            self.backlog[server].append(upload)

    def begin(self, now: float, upload: Upload, server: int) -> None:
        self.busy[server] += 1
        self.accepted = max(self.accepted, sum(self.busy))
        upload.tries += 1
        self.asks(now, Try(upload, server, now, self.pauses()))

    def pauses(self) -> Iterator[float]:
        """Between the requests of one try that are refused: a PUT and three more, then a HEAD and three more."""
        for _ in range(2):
            pause = 0.1
            for _ in range(3):
                yield pause
                pause = self.random.uniform(0.1, 2 * pause)

    def asks(self, now: float, attempt: Try) -> None:
        if self.at_gateways < self.places:
            self.send(now, attempt)
        elif pause := next(attempt.pauses, None):
            self.at(now + pause, self.ASKS, attempt)
        else:
            self.late(now, attempt)

    def send(self, now: float, attempt: Try) -> None:
        self.at_gateways += 1
        when, deadline = self.write(now, attempt.upload.nodes), attempt.begun + self.case.deadline
        if when is None:
            self.hung.append(attempt)
        else:
            self.at(when, self.DONE, attempt)
        if when is None or when > deadline:
            self.at(deadline, self.LATE, attempt)

    def done(self, now: float, attempt: Try) -> None:
        self.at_gateways -= 1
        if attempt.waited_for:
            attempt.upload.stored = now
            self.answer(now, attempt)

    def late(self, now: float, attempt: Try) -> None:
        """503, and KAZOO comes again."""
        if attempt.waited_for:
            self.answer(now, attempt)
            self.at(now + RETRY_AFTER, self.ARRIVES, attempt.upload)

    def answer(self, now: float, attempt: Try) -> None:
        attempt.waited_for = False
        self.connections -= 1
        self.busy[attempt.server] -= 1
        if self.backlog[attempt.server]:
            self.begin(now, self.backlog[attempt.server].popleft(), attempt.server)

    def down(self, now: float, _: None) -> None:
        hung, self.hung = self.hung, []
        for attempt in hung:
            self.at(self.write(now, attempt.upload.nodes) or now, self.DONE, attempt)

    def write(self, now: float, nodes: tuple[int, ...]) -> float | None:
        """When as many nodes have it as a write waits for; never, as yet, if a dead one is among them."""
        dead, times = self.case.fault == 'dead', []
        for node in nodes:
            if dead and node == self.BAD and now >= self.BEGIN:
                if now < self.end:
                    times.append(math.inf)
                continue
            when = self.serve(now, node)
            times.append(math.inf if dead and node == self.BAD and when > self.BEGIN else when)
        enough = min(self.case.quorum or len(times), len(times))
        when = sorted(times)[enough - 1]
        return None if when == math.inf else when

    def serve(self, now: float, node: int) -> float:
        writers = self.nodes[node]
        begin, takes = max(now, writers[0]), self.random.lognormvariate(math.log(self.MEDIAN), self.SIGMA)
        if node == self.BAD:
            if self.case.fault == 'slow' and self.BEGIN <= begin < self.end:
                takes *= 10
            elif self.case.fault == 'stall' and self.BEGIN <= begin < self.end:
                begin = self.end
            elif self.case.fault == 'stall' and begin < self.BEGIN < begin + takes:
                takes += self.case.lasts
        heapq.heapreplace(writers, begin + takes)
        return begin + takes


def cases(a: argparse.Namespace) -> list[Case]:
    healthy = Case('none', width=a.copies, deadline=a.deadline)
    slow = healthy._replace(name='a node 10 × slower for 2 min, engine at 5 % of its capacity', fault='slow', lasts=120)
    slower = slow._replace(name='the same at 20 %', load=0.2)
    dead = healthy._replace(name=f'a node dead for {number(a.detect)} s, then marked down', fault='dead', lasts=a.detect)
    ec = max(a.ec, key=lambda s: -s.width)
    return [
        healthy,
        slow,
        slower,
        slower._replace(name='the same at 20 %, an engine that waits for one node less', quorum=a.copies - 1),
        healthy._replace(name='a node stalls for 5 s', fault='stall', lasts=5),
        dead,
        dead._replace(name='the same', deadline=round(a.deadline / 3)),
        dead._replace(name=f'the same, 1 gateway with its {GATEWAY} requests', gateways=1),
        dead._replace(name='the same, 2 servers with 1024 file descriptors each', files=1024),
        dead._replace(name=f'the same, {ec.name}', width=ec.width),
        dead._replace(name='a process dies and connections are refused: noticed in 2 s', lasts=2),
    ]


def simulation(a: argparse.Namespace) -> list[str]:
    rows = []
    for case in cases(a):
        result = Simulation(case, a).run()
        rows.append([case.name, f'{number(case.deadline)} s', *(seconds(percentile(result.times, p)) for p in (50, 99, 99.9)),
                     share(sum(time > 1 for time in result.times) / len(result.times)),
                     share(result.again), count(result.most), memory(result.accepted * in_memory(a.size * KIB))])
    return table(['fault', 'deadline', 'p50', 'p99', 'p99.9', 'over 1 s', 'sent again', 'most at once', 'memory'], rows)


def percentile(ordered: list[float], p: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * p / 100) - 1)]


# -- how it is written

def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f'| {" | ".join(cells)} |' for cells in (head, ['---'] * len(head), *rows)]


def number(x: float) -> str:
    return f'{x:g}'


def scaled(x: float, base: int, units: list[str], exact: int = 1) -> str:
    """Three digits and a unit."""
    unit = 0
    while unit < len(units) - 1 and round(x, 2) >= base:
        x, unit = x / base, unit + 1
    digits = 0 if x >= 99.95 or unit < exact and x == round(x) else 1 if x >= 9.995 else 2
    return f'{x:.{digits}f} {units[unit]}'.strip()


def digits(x: float) -> str:
    return f'{x:.0f}' if x < 9999.5 else f'{x:,.0f}'.replace(',', ' ')


def count(x: float) -> str:
    """All digits below a million."""
    if x < 999_999.5:
        return digits(x) if x >= 10 or x == round(x) else f'{x:.2g}'
    return scaled(x / 1e6, 1000, ['million', 'billion'], exact=2)


def size_of(x: float) -> str:
    return scaled(x / 1e6, 1000, ['MB', 'GB', 'TB', 'PB'])


def bits(x: float) -> str:
    return scaled(x / 1e6, 1000, ['Mbit/s', 'Gbit/s', 'Tbit/s'])


def memory(x: float) -> str:
    return scaled(x / MIB, 1024, ['MiB', 'GiB', 'TiB'])


def seconds(x: float) -> str:
    return f'{x * 1000:.0f} ms' if x < 0.9995 else f'{x:.1f} s'


def share(x: float) -> str:
    return '0' if x == 0 else '< 0.1 %' if x < 0.0005 else f'{x * 100:.1f} %'


def whole(x: float) -> str:
    return f'{x * 100:.0f} %'


def put_into(page: pathlib.Path, tables: list[list[str]]) -> None:
    """In the place of the tables of the page whose first column has the same heading."""
    lines = page.read_text().split('\n')
    for new in tables:
        heading = new[0].split('|')[1]
        begin = next((n for n, line in enumerate(lines) if line.startswith(f'|{heading}|')), None)
        if begin is None:
            sys.exit(f'{page} has no table that begins with{heading}')
        end = next(n for n in range(begin, len(lines)) if not lines[n].startswith('|'))
        lines[begin:end] = new
    page.write_text('\n'.join(lines))


def options(arguments: list[str]) -> argparse.Namespace:
    def code(text: str) -> Scheme:
        return Scheme(*(int(part) for part in text.split('+')))

    def price(text: str) -> tuple[float, ...]:
        put, get, month = (float(part) for part in text.split(':'))
        return put, get, month

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--size', type=int, default=120, metavar='KIB', help='mean size of a file (%(default)s)')
    add('--rate', type=float, action='append', metavar='N', help='uploads a second; may come several times (1, 100 and 100000)')
    add('--days', type=int, default=90, help='how long files are kept (%(default)s)')
    add('--fetches', type=float, default=1, metavar='N', help='fetches for each upload (%(default)s)')
    add('--presign', action='store_true', help='the bytes of fetches do not pass through the servers')
    add('--server-puts', type=float, default=7400, metavar='N', help='uploads a second of a server that does nothing else (%(default)s)')
    add('--server-gets', type=float, default=10000, metavar='N', help='fetches a second of a server that does nothing else (%(default)s)')
    add('--load', type=float, default=0.6, metavar='SHARE', help='how much of that, and of its link, to plan for (%(default)s)')
    add('--link', type=float, default=10, metavar='GBIT', help="a server's link, Gbit/s in each direction (%(default)s)")
    add('--copies', type=int, default=3, metavar='N', help='copies that the engine keeps (%(default)s)')
    add('--ec', type=code, action='append', metavar='K+M', help='erasure codes to compare; may come several times (4+2 and 8+3)')
    add('--nodes', type=int, default=12, metavar='N', help='nodes of one cluster (%(default)s)')
    add('--disk', type=float, default=11.2, metavar='TB', help='what one disk is to hold (%(default)s: 16 TB filled to 70 %%)')
    add('--disk-requests', type=float, default=75, metavar='N', help='requests a second of one disk (%(default)s)')
    add('--cluster-objects', type=float, default=1e10, metavar='N', help='objects of one cluster (%(default)g)')
    add('--cluster-puts', type=float, default=10_000, metavar='N', help='uploads a second of one cluster (%(default)s)')
    add('--detect', type=float, default=22, metavar='S', help='until a dead node is marked down and others do its work (%(default)s)')
    add('--price', type=price, default=price('12.5:1:57500'), metavar='PUT:GET:GIB_MONTH', help='prices to each other (12.5:1:57500)')
    add('--deadline', type=float, default=30, metavar='S', help="the servers' --store-deadline (%(default)s)")
    add('--sim-rate', type=float, default=300, metavar='N', help='uploads a second of the simulation (%(default)s)')
    add('--seed', type=int, default=1)
    add('--page', type=pathlib.Path, metavar='FILE', help='put the tables into this page instead of printing them')
    a = p.parse_args(arguments)
    a.rate = a.rate or [1, 100, 100_000]
    a.ec = a.ec or [Scheme(4, 2), Scheme(8, 3)]
    if max(s.width for s in schemes(a)) > a.nodes:
        p.error('--nodes: a cluster has at least as many nodes as an object has parts')
    return a


def main(arguments: list[str]) -> None:
    a = options(arguments)
    tables = [assumptions(a), plan(a), costs(a), simulation(a)]
    if a.page:
        put_into(a.page, tables)
    else:
        print('\n\n'.join('\n'.join(lines) for lines in tables))


if __name__ == '__main__':
    main(sys.argv[1:])
