#!/usr/bin/env python3
"""A Ceph cluster with its S3 gateway on loopback, and a small S3 client.

    python3 tests/system/cluster/ceph.py                    proves that an OSD killed with SIGKILL keeps its data
    python3 tests/system/cluster/ceph.py -- COMMAND...      runs COMMAND against a cluster with a bucket, and exits with its status

COMMAND receives the cluster in AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ALLOW_HTTP, and the
bucket in KAZOO_STORAGE_TEST_STORE. Needs root or any user with a home, and Debian's radosgw, ceph-mon, ceph-osd and ceph-common.
Everything is in a temporary directory and on free ports, so several clusters can run at once.
"""
from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

REGION = 'us-east-1'
BUCKET = 'kazoo'


# -- S3

class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Failed(Exception):
    """The gateway refused a request that a test needs."""


class S3:
    """Path-style S3 with signature version 4. One connection for each thread."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, timeout: float = 30):
        self.endpoint, self.access_key, self.secret_key, self.timeout = endpoint, access_key, secret_key, timeout
        self.host = urlsplit(endpoint).netloc
        self.local = threading.local()

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._expect(200, 'PUT', f'/{bucket}/{key}', body=body)

    def get(self, bucket: str, key: str) -> bytes:
        return self._expect(200, 'GET', f'/{bucket}/{key}').body

    def head(self, bucket: str, key: str) -> http.client.HTTPMessage | None:
        """The headers, or `None` if the object does not exist."""
        answer = self.request('HEAD', f'/{bucket}/{key}')
        return answer.headers if answer.status == 200 else None

    def delete(self, bucket: str, key: str) -> None:
        self._expect(204, 'DELETE', f'/{bucket}/{key}')

    def list(self, bucket: str, prefix: str = '', page: int = 1000) -> Iterator[tuple[str, int]]:
        """The key and the size of every object under `prefix`."""
        query = {'list-type': '2', 'prefix': prefix, 'max-keys': str(page)}
        while True:
            root = _xml(self._expect(200, 'GET', f'/{bucket}', query).body)
            for entry in root.iter('Contents'):
                yield entry.findtext('Key', ''), int(entry.findtext('Size', '0'))
            if root.findtext('IsTruncated') != 'true':
                return
            query['continuation-token'] = root.findtext('NextContinuationToken', '')

    def create_bucket(self, bucket: str) -> None:
        self._expect(200, 'PUT', f'/{bucket}')

    def multipart_uploads(self, bucket: str) -> list[str]:
        """The keys of the unfinished multipart uploads."""
        query, keys = {'uploads': ''}, []
        while True:
            root = _xml(self._expect(200, 'GET', f'/{bucket}', query).body)
            keys += [entry.findtext('Key', '') for entry in root.iter('Upload')]
            if root.findtext('IsTruncated') != 'true':
                return keys
            query |= {'key-marker': root.findtext('NextKeyMarker', ''), 'upload-id-marker': root.findtext('NextUploadIdMarker', '')}

    def abort_uploads_after(self, bucket: str, days: int) -> None:
        """Sets the bucket's only lifecycle rule: abort multipart uploads of this age."""
        rule = f'<ID>abort</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload>' \
               f'<DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload>'
        body = f'<LifecycleConfiguration><Rule>{rule}</Rule></LifecycleConfiguration>'.encode()
        self._expect(200, 'PUT', f'/{bucket}', {'lifecycle': ''}, body)

    def signed(self, method: str, path: str, query: Mapping[str, str] = {}, body: bytes = b'') -> tuple[str, dict[str, str]]:
        """The target of a request and its signed headers, valid for 15 minutes."""
        path, query_string, digest, (now, scope) = quote(path, safe='/~'), _query(query), _sha256(body), self._scope()
        headers = {'host': self.host, 'x-amz-content-sha256': digest, 'x-amz-date': now}
        names = ';'.join(headers)
        canonical = '\n'.join([method, path, query_string, *(f'{name}:{value}' for name, value in headers.items()), '', names, digest])
        headers['authorization'] = f'AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, ' \
                                   f'Signature={self._sign(now, scope, canonical)}'
        return (f'{path}?{query_string}' if query_string else path), headers

    def request(self, method: str, path: str, query: Mapping[str, str] = {}, body: bytes = b'') -> Answer:
        target, headers = self.signed(method, path, query, body)
        connection = getattr(self.local, 'connection', None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection(self.host, timeout=self.timeout)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            # The next request opens a new connection.
            connection.close()
            raise

    def _expect(self, status: int, method: str, path: str, query: Mapping[str, str] = {}, body: bytes = b'') -> Answer:
        answer = self.request(method, path, query, body)
        if answer.status != status:
            raise Failed(f'{method} {path} {dict(query)}: {answer.status} {answer.body[:300]!r}')
        return answer

    def _scope(self) -> tuple[str, str]:
        now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
        return now, f'{now[:8]}/{REGION}/s3/aws4_request'

    def _sign(self, now: str, scope: str, canonical: str) -> str:
        key = f'AWS4{self.secret_key}'.encode()
        for part in scope.split('/'):
            key = hmac.digest(key, part.encode(), 'sha256')
        text = f'AWS4-HMAC-SHA256\n{now}\n{scope}\n{_sha256(canonical.encode())}'
        return hmac.digest(key, text.encode(), 'sha256').hex()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _query(parameters: Mapping[str, str]) -> str:
    return urlencode(sorted(parameters.items()), quote_via=quote, safe='~')


def _xml(text: bytes) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rpartition('}')[2]
    return root


# -- the cluster

# `{d}` is the directory. Comments explain the differences from a production cluster.
CONFIG = '''
[global]
fsid = {fsid}
mon host = {mon}
public addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {d}/keyring
run dir = {d}
admin socket = {d}/$name.$pid.asok
log file = {d}/$name.log
mon data = {d}/mon
osd data = {d}/osd.$id
rgw data = {d}/rgw

# Three copies, and an upload is stored when two have it, as in production, but all on one host.
osd pool default size = 3
osd pool default min size = 2
osd crush chooseleaf type = 0
# Few placement groups and immediate changes of the map: a cluster starts in seconds.
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
paxos propose interval = 0.1
# Ignore a full disk of the machine.
mon data avail crit = 1
mon data avail warn = 1

# The remaining OSDs detect a dead one within seconds instead of 20. Its data is not moved, and it may die often.
osd heartbeat interval = 1
osd heartbeat grace = 5
mon osd adjust heartbeat grace = false
mon osd min down reporters = 1
mon osd down out interval = 86400
osd max markdown count = 1000

osd objectstore = {objectstore}
osd class dir = {classes}
memstore device bytes = 4294967296
# A sparse file.
bluestore block size = 8589934592
bluestore cache autotune = false
bluestore cache size = 67108864

rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
# A day of a lifecycle rule takes a second, and only `sweep` applies the rules.
rgw lc debug interval = 1
rgw enable lc threads = false
'''
CLASSES = next((str(path) for path in pathlib.Path('/usr').glob('lib*/**/rados-classes')), '/usr/lib/rados-classes')


class Cluster:
    """One monitor, three OSDs and one gateway. What an acknowledged upload left in them survives `kill_osd`, unless `objectstore` is
    `memstore`, which is faster.

    Start it and its OSDs from the main thread: its processes end with the thread that started them, so that none is left behind when
    a test is killed.
    """

    def __init__(self, objectstore: str = 'bluestore', osds: int = 3):
        self.objectstore, self.osds = objectstore, osds
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='kazoo-storage-ceph-'))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.access_key, self.secret_key = secrets.token_hex(10), secrets.token_hex(20)
        self.endpoint = ''

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop(keep_logs=True)
            raise
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        self.stop(keep_logs=bool(failure))

    def start(self) -> tuple[str, str, str]:
        """Starts everything and creates the bucket. Returns the S3 endpoint, the access key and the secret."""
        (v2, v1, port), reserved = reserve_ports(3)
        mon, fsid = f'[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]', str(uuid.uuid4())
        config = CONFIG.format(d=self.directory, fsid=fsid, mon=mon, port=port, objectstore=self.objectstore, classes=CLASSES)
        self._path('ceph.conf').write_text(config)
        for name in ('mon', 'rgw', *(f'osd.{i}' for i in range(self.osds))):
            self._path(name).mkdir()

        keyring = str(self._path('keyring'))
        self._run('ceph-authtool', '--create-keyring', keyring, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *')
        for entity in ('client.admin', 'client.rgw.a', *(f'osd.{i}' for i in range(self.osds))):
            self._run('ceph-authtool', keyring, '--gen-key', '-n', entity, '--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *')
        self._run('monmaptool', '--create', '--addv', 'a', mon, '--fsid', fsid, str(self._path('monmap')))
        self._run('ceph-mon', '-i', 'a', '--mkfs', '--monmap', str(self._path('monmap')), '--keyring', keyring)
        self._spawn('mon.a', 'ceph-mon', '-i', 'a')
        identities = [str(uuid.uuid4()) for _ in range(self.osds)]
        for identity in identities:
            # The monitor assigns the numbers in order.
            self.ceph('osd', 'new', identity)
        with ThreadPoolExecutor() as pool:
            # Each mostly waits.
            list(pool.map(lambda i: self._run('ceph-osd', '-i', str(i), '--mkfs', '--osd-uuid', identities[i]), range(self.osds)))
        for i in range(self.osds):
            self.start_osd(i)
        self.wait_osds(self.osds)
        self._spawn('rgw', 'radosgw', '-n', 'client.rgw.a')
        self.endpoint = f'http://127.0.0.1:{port}'
        self._wait('the gateway', 60, lambda: listens(port))
        for held in reserved:
            held.close()
        self._run('radosgw-admin', 'user', 'create', '--uid', 'kazoo', '--display-name', 'kazoo',
                  '--access-key', self.access_key, '--secret-key', self.secret_key)
        self.s3().create_bucket(BUCKET)
        return self.endpoint, self.access_key, self.secret_key

    def s3(self, timeout: float = 30) -> S3:
        return S3(self.endpoint, self.access_key, self.secret_key, timeout)

    def environment(self) -> dict[str, str]:
        """The address and credentials of the cluster, for the environment of a process."""
        return {'AWS_ENDPOINT_URL': self.endpoint, 'AWS_ACCESS_KEY_ID': self.access_key, 'AWS_SECRET_ACCESS_KEY': self.secret_key,
                'AWS_REGION': REGION, 'AWS_ALLOW_HTTP': 'true'}

    def kill_osd(self, i: int) -> None:
        """Sends SIGKILL: the OSD neither deregisters nor writes its memory."""
        self._end(f'osd.{i}', signal.SIGKILL)

    def start_osd(self, i: int) -> None:
        """Starts it with its data."""
        self._spawn(f'osd.{i}', 'ceph-osd', '-i', str(i))

    def wait_osds(self, up: int, seconds: float = 60) -> float:
        """Waits until the monitor reports this many OSDs up. Returns the duration."""
        begun = time.monotonic()
        self._wait(f'{up} OSDs up', seconds, lambda: json.loads(self.ceph('osd', 'stat', '-f', 'json'))['num_up_osds'] == up)
        return time.monotonic() - begun

    def sweep(self) -> None:
        """Applies the lifecycle rules of the buckets, as a production cluster does every night."""
        self._run('radosgw-admin', 'lc', 'process')

    def stop(self, keep_logs: bool = False) -> None:
        for name in reversed(list(self.processes)):
            # Nothing is needed afterwards.
            self._end(name, signal.SIGKILL)
        if keep_logs:
            print(f'the logs are in {self.directory}', file=sys.stderr)
            for path in self.directory.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def ceph(self, *arguments: str) -> str:
        return self._run('ceph', *arguments)

    def _path(self, name: str) -> pathlib.Path:
        return self.directory / name

    def _run(self, program: str, *arguments: str) -> str:
        command = [program, '-c', str(self._path('ceph.conf')), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failed(f'{" ".join(command)}: {done.stderr}')
        return done.stdout

    def _spawn(self, name: str, program: str, *arguments: str) -> None:
        command = ['setpriv', '--pdeathsig', 'KILL', program, '-f', '-c', str(self._path('ceph.conf')), *arguments]
        with open(self._path(f'{name}.out'), 'ab') as out:
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait()

    def _wait(self, what: str, seconds: float, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise Failed(f'{name} has ended: {self._path(f"{name}.out").read_text()[-2000:]}')
            if time.monotonic() > deadline:
                raise Failed(f'no {what} in {seconds} s')
            time.sleep(0.1)


def reserve_ports(count: int) -> tuple[list[int], list[socket.socket]]:
    """Free ports, and sockets that keep everybody else from getting them until they are listened on: the system gives a port that is
    bound to nobody, unless who asks for that very one says as we do that it may be shared."""
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('127.0.0.1', 0))
    return [s.getsockname()[1] for s in held], held


def listens(port: int) -> bool:
    try:
        socket.create_connection(('127.0.0.1', port), timeout=1).close()
        return True
    except OSError:
        return False


# -- the script

def prove() -> None:
    """Proves the assumptions of the other scripts: stored objects survive `kill_osd`, and the sweep removes unfinished uploads."""
    begun = time.monotonic()
    with Cluster() as cluster:
        s3 = cluster.s3()
        print(f'started in {time.monotonic() - begun:.1f} s: {cluster.endpoint}')
        objects = {f'a/{n:03} ü%2F+.mp3': secrets.token_bytes(n * 1000) for n in range(200)}
        begun = time.monotonic()
        for key, body in objects.items():
            s3.put(BUCKET, key, body)
        print(f'{len(objects)} objects stored one after the other in {time.monotonic() - begun:.1f} s')
        assert dict(s3.list(BUCKET, 'a/', page=70)) == {key: len(body) for key, body in objects.items()}, 'the list is wrong'

        cluster.kill_osd(0)
        begun = time.monotonic()
        s3.put(BUCKET, 'one down', b'1')
        print(f'one of 3 OSDs killed: stored again after {time.monotonic() - begun:.1f} s')
        cluster.kill_osd(1)
        try:
            cluster.s3(timeout=8).put(BUCKET, 'two down', b'2')
            raise Failed('something was stored with one OSD of three')
        except TimeoutError:
            print('a second one killed: nothing is answered in 8 s')
        cluster.start_osd(0), cluster.start_osd(1)
        print(f'both started: up after {cluster.wait_osds(3):.1f} s')
        begun = time.monotonic()
        wrong = [key for key, body in objects.items() if s3.get(BUCKET, key) != body]
        assert not wrong, f'lost: {wrong}'
        print(f'all {len(objects)} objects read back right within {time.monotonic() - begun:.1f} s more')

        for n in range(3):
            answer = s3.request('POST', f'/{BUCKET}/unfinished{n}', {'uploads': ''})
            upload = _xml(answer.body).findtext('UploadId', '')
            s3.request('PUT', f'/{BUCKET}/unfinished{n}', {'partNumber': '1', 'uploadId': upload}, bytes(5 << 20))
        found = s3.multipart_uploads(BUCKET)
        assert len(found) == 3, found
        s3.abort_uploads_after(BUCKET, 1)
        time.sleep(2)
        cluster.sweep()
        assert not s3.multipart_uploads(BUCKET), 'the sweep left uploads'
        s3.delete(BUCKET, 'one down')
        assert s3.head(BUCKET, 'one down') is None, 'deleted and still there'
        print('3 unfinished multipart uploads were there, and none after the sweep')


def main(arguments: list[str]) -> int:
    # Exits through `with` and `finally`, which stop the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not arguments:
        prove()
        return 0
    command = arguments[1:] if arguments[0] == '--' else arguments
    with Cluster('memstore') as cluster:
        environment = os.environ | cluster.environment() | {'KAZOO_STORAGE_TEST_STORE': f's3://{BUCKET}'}
        return subprocess.run(command, env=environment).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
