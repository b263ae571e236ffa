#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets to fuzz/corpus: parts of the captures in tests/fixtures.

Every input of a target with a body starts with the four cuts of `pieces.rs`.
"""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "tests/fixtures/kazoo"
# A longer body only slows the fuzzer down.
LONGEST = 2048

SMALL, TINY = bytes([7, 64, 1, 200]), bytes([1, 1, 1, 1])


class Corpus:
    def __init__(self, target):
        self.folder = HERE / "corpus" / target
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, *parts):
        text = b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts)
        if len(text) <= LONGEST:
            (self.folder / sha256(text).hexdigest()[:40]).write_bytes(text)


def split(request):
    """Target, headers and body of a captured request."""
    head, body = request.split(b"\r\n\r\n", 1)
    line, *headers = head.split(b"\r\n")
    headers = dict(header.split(b": ", 1) for header in headers if b": " in header)
    return line.split(b" ")[1], headers, body


def key(stores, fetches):
    corpus = Corpus("key")
    for request in stores + fetches:
        target, _, _ = split(request)
        corpus.add(target)
        path, _, query = target.partition(b"?")
        corpus.add(path, "\n", path)
        for pair in query.split(b"&"):
            corpus.add(pair.partition(b"=")[2])
    for path in [
        "a%2Fb/c%252Fd/%E2%82%AC//é/", "a/../b\n../x", "%2e%2E/b", "a/%00", "a/%C2%85", "a/%FF", "%C0%AE",
        "x/" * 33, "x/" * 64, "A/B/A/B\nC", "A//B/\n//C/",
        "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/DOC/ATT.mp3\nsystem_data/DOC/ATT.mp3",
        "y" * 1025, "/i?recording=A/B.wavA/B.wav", "/?media_id=a%2Fb&id=1",
    ]:
        corpus.add(path)


def content_type(stores):
    corpus = Corpus("content_type")
    values = {split(request)[1].get(b"content-type", b"") for request in stores}
    values |= {
        b"multipart/mixed", b"multipart/mixed; boundary=", b'Multipart/Mixed;charset=x; BOUNDARY="b c"', b"audio/mpeg",
        b"multipart/form-data; boundary=a/b+c", b"multipart/form-data; boundary=" + b"x" * 201,
        b"multipart/related; boundary=B",
        b'multipart/mixed; boundary="B ', b'multipart/mixed; boundary=""', b"multipart/mixed; boundary=-",
    }
    for value in values:
        for boundary in [b"B", b"-qBt_AI-", b"x" * 200, b"b c ", b"\xc3\xa9"]:
            corpus.add(SMALL, value, "\n", boundary, "\n", b"ID3\r\n--\r\n--B-")
    corpus.add(TINY, "multipart/mixed\n", b"x" * 200, "\nID3")


def bodies(stores):
    multipart, encoded = Corpus("multipart"), Corpus("base64")
    for number, request in enumerate(stores):
        _, headers, body = split(request)
        if not headers.get(b"content-type", b"").startswith(b"multipart/"):
            encoded.add(SMALL, [number % 3, 2], body)
            continue
        boundary = re.match(rb"\r\n--([^\r]+)\r\n", body).group(1)
        multipart.add(SMALL, [number % 4], boundary, "\n", body)
        # A short boundary is more likely to occur by chance.
        multipart.add(TINY, [number % 4], "B\n", body.replace(boundary, b"B"))
        media = body.split(b"\r\n\r\n", 2)[2].rpartition(b"\r\n--")[0]
        encoded.add(SMALL, [number % 3, (2, 0, 4, 0x1A, 0x0B)[number % 5]], media)
    for text in [
        b"", b"SUQz", b"SUQzAA==", b"AA=A", b"=AAA", b"SUQz\r\n", b"AAB=",
        b"A" * 1024, b"A" * 1028, b"A" * 1023 + b"=", b"A" * 1023 + b"=AAAA",
        b"U" * 4000, b"SUQzBAAAAAAA" * 8, b"//uQZAAP8AAAaQAAAAgAAA0gAAAB", b"SUQz\r\nBAAA\r\n",
        b"c29tZSByYW5kb20gY29udGVudDogN2YzYzJhOTBiMWQ0ZTZmOGEwYzJlNGY2MTgyOTNhNGI=",
    ]:
        for mode in range(3):
            for meant in (2, 4, 6, 3, 0x12, 0x0A, 0x82, 0xC2):
                encoded.add(TINY, [mode, meant], text)
            encoded.add([200, 255, 7, 220], [mode, 0x22], text)
    # Padding at the end of a piece, but not of the body.
    for padded in [b"A" * 1151 + b"=", b"A" * 1150 + b"=="]:
        for more in [b"", b"A" * 64, b"===="]:
            encoded.add([200] * 4, [1, 2], padded + more)
    part = b"--B\r\ncontent-type: audio/mpeg\r\n\r\nID3"
    json_part = b"\r\n--B\r\ncontent-type: application/json\r\n\r\n{}\r\n"
    for body in [
        part + b"\r\n--B--", part, part + b"\r\n--Bx", b"--B--",
        b"preamble" + part + b"\r\n--B  \r\n\r\n\r\n--B--epilogue",
        json_part + part + b"\r\n" + part + b"\r\n--B--",
        json_part + b"--B\r\n\r\nRIFF\r\n\r\nmore\r\n--B--\r\n", json_part + b"--B\r\nx: y\n\nRIFF\r\n\r\nmore\r\n--B--",
        part + b"\r\n--B--ad luck\r\n--B-- \r\n", part + b"\r\n--B--\r\n--B--", b"--B\r\nx: y;\r\n z\r\n\r\n\r\n--B--",
        b"--B\r\ncontent-transfer-encoding: base64\r\n\r\nSUQz\r\n--B--",
    ]:
        for flags in range(8):
            multipart.add(TINY, [flags], "B\n", body)


def range_():
    corpus = Corpus("range")
    for value in [
        "bytes=0-", "bytes=2-5", "Bytes= 2 - 5 ", "bytes=-7", "bytes=0-99999999999999999999999", "bytes=5-2",
        "bytes=-", "bytes=0-1,4-5", "bytes=9-9", "bytes=10-", "bytes=-0", "items=0-1", "bytes=+1-2",
    ]:
        for length in range(5):
            corpus.add([length], "range: ", value, "\n")
        for condition in ['"v2"', '"v1"', 'W/"v2"', "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT", "x"]:
            for age in range(3):
                corpus.add([5 * age], "range: ", value, "\nif-range: ", condition)
    for name in ["if-match", "if-none-match"]:
        for value in ['"v2"', '"v1"', '"v1", W/"v2"', "*", 'W/"v2"', "v2", ""]:
            corpus.add([0], name, ": ", value, "\n")
    for name in ["if-modified-since", "if-unmodified-since"]:
        for value in ["Tue, 14 Nov 2023 22:13:20 GMT", "Tuesday, 14-Nov-23 22:13:19 GMT", "Tue Nov 14 22:13:21 2023", "x"]:
            for age in range(3):
                corpus.add([5 * age], name, ": ", value, "\n")
    corpus.add([0], "content-range: bytes 0-1/2\n")


def access():
    corpus = Corpus("access")
    networks = ["10.0.0.0/8", "192.0.2.7", "::1", "2001:db8::/32", "10.0.0.0/33", " 10.0.0.1 ", "host", ""]
    credentials = [
        {"user": "kazoo", "password": "a long secret"},
        {"token": "fI6n-3Qc", "accounts": ["ACC"], "may": "read"},
        {"token": "a/b %", "may": "write"},
        {"user": "us:er", "password": "007é", "accounts": [], "may": "both"},
        {"user": "", "password": "x"}, {"token": ""}, {"user": "x"}, {"token": "x", "user": "y", "password": "z"},
        {"may": "all"}, {"token": "x", "name": "acme-write", "folders": ["archive/a%2Fb"], "max_body": 1048576},
        {"token": "x", "name": "a\u202eb"}, {"token": "x", "max_body": 0}, {"user": "kazoo", "password": "a l\x7fng secret"},
        ["name", "user", "password"],
    ]
    for document in (
        [{"networks": [network]} for network in networks]
        + [{"credentials": [credential]} for credential in credentials]
        + [{"networks": networks[:4], "trusted_proxies": networks[:2], "credentials": credentials[:4]}, {}, [], {"other": 1}]
        + [{"networks": [{"network": "10.0.0.0/8", "name": "office"}, {"network": "::1"}]}, [["::1"]]]
        + [{"networks": None, "credentials": credentials[:1]}]
        + [{"credentials": [{"token": "x", "user": None, "accounts": None}]}]
    ):
        corpus.add(json.dumps(document))
    corpus.add('{"networks":[],"networks":["::1"]}')
    for lines in [
        b"x192.0.2.1, 10.0.0.7\nx[2001:db8:1::1]:80", b"x\xe9, 192.0.2.1", b"x\nx192.0.2.1", b"f\xe9\nx192.0.2.1",
        b'ffor=192.0.2.1;proto=http, FOR="[2001:db8::7]:80";by=_x', b'ffor=192.0.2.1;by=", for=10.0.0.7', b"ffor=unknown",
    ]:
        corpus.add("{}", [0], lines)


def settings():
    corpus = Corpus("settings")
    for entry in json.loads((CAPTURES / "manifest.json").read_text()):
        name = entry.get("put_target") or ""
        corpus.add(json.dumps(entry["settings"]), "\n", name.partition("?")[0].strip("/"))
    for field_list, separator, name in [
        (None, "-", "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7-202401-9f86d081884c7d659a2feaa0c55ad015-a-b.mp3"),
        ([{"field": f"f{n}"} for n in range(6)] + [{"arg": "attachment"}], "-", "-" * 200),
        ([{"group": [{"arg": "id"}, {"const": "?from=x"}]}, "static", {"field": ["a", "b"]}], "/", "x/static"),
    ]:
        document = {"url": "http://h:80/p", "verb": "put", "field_list": field_list, "field_separator": separator}
        corpus.add(json.dumps({"data": {"attachments": {"A": {"handler": "http", "settings": document}}}}), "\n", name)
        corpus.add(json.dumps(document | {"folder_base_path": "/a/b/", "send_multipart": True}), "\n", "a/b/", name)


def request(stores, fetches):
    corpus = Corpus("request")
    put = b"PUT /A/B/C HTTP/1.%d\r\n%s\r\n\r\nID3"
    get = b"GET /A/B/C HTTP/1.1\r\nhost: x\r\n\r\n"
    for number, store in enumerate(stores):
        target, _, body = split(store)
        key = 4 if b"recording=" in target else 8 * (number % 8 == 0)
        corpus.add(SMALL, [number % 3 | key | 16 * (number % 9 == 0)], store)
        chunked = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", store[: -len(body) or None])
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [body[:100], body[100:]] if piece)
        corpus.add(TINY, [key], chunked, chunks, "0\r\n\r\n", get)
    for fetch in fetches:
        corpus.add(SMALL, [4 if b"recording=" in fetch else 0], put % (1, b"content-length: 3"), fetch)
    for line in [
        b"content-length: 3", b"content-length: 4", b"content-length: 2", b"x: y",
        b"expect: 100-continue\r\ncontent-length: 3", b"if-none-match: *\r\ncontent-length: 3",
        b"content-range: bytes 0-2/9\r\ncontent-length: 3", b"host: x\r\nhost: x\r\ncontent-length: 3",
        b"transfer-encoding: gzip, chunked", b"transfer-encoding: gzip\r\ntransfer-encoding: chunked",
    ]:
        corpus.add(TINY, [0], put % (1, line), get)
        corpus.add(TINY, [0], put % (0, line))
    for line in [b"/T0k", b"//T%30k", b"/R", b"/T0k/ACC"]:
        corpus.add(TINY, [32], (put % (1, b"content-length: 3")).replace(b"/A/B/C", line + b"/ACC/D/A"), get)
    for text in [b"kazoo:p@ss", b"kazoo:p%40ss", b"kazoop@ss:", b"T0k:", b"R:", b"x:y"]:
        authorization = b"authorization: Basic " + b64encode(text)
        corpus.add(TINY, [32], put % (1, authorization + b"\r\ncontent-length: 3"))
        by_query = put.replace(b"/A/B/C", b"/?token=T0k&recording=ACC/D/A")
        corpus.add(TINY, [36], by_query % (1, authorization + b"\r\ncontent-length: 3"))
    for method in ["DELETE", "OPTIONS", "HEAD", "PATCH"]:
        corpus.add(TINY, [0], method, " /A/B/C HTTP/1.1\r\n\r\n", get)


def main():
    captures = sorted(CAPTURES.glob("*.http"))
    fetches = [path.read_bytes() for path in captures if path.name.endswith(".get.http")]
    stores = [path.read_bytes() for path in captures if not path.name.endswith(".get.http")]
    key(stores, fetches)
    content_type(stores)
    bodies(stores)
    range_()
    access()
    settings()
    request(stores, fetches)


if __name__ == "__main__":
    main()
