#!/usr/bin/env python3
"""Runs a command against an emulated Azure Blob Storage or Google Cloud Storage.

    python3 tests/system/cluster/emulators.py azure|gcs -- COMMAND...

The command receives the container or bucket in KAZOO_STORAGE_TEST_STORE, as
az://kazoo or gs://kazoo, for the object_store crate's from_env() and
with_url(). The exit status is the command's. Needs Python 3.10 with venv; for
azure also Node and npm.

azure is Azurite. It checks signatures, but has no limit on the length of
names and metadata, and takes a name with uncommitted blocks (an upload that
was aborted) as existing in a Put Blob with If-None-Match: *.

gcs is not an emulator by Google: those lack most of the XML API, which
object_store uses. It is the S3 server of moto, whose API Google's resembles,
with Google's names for headers and Google's 404 for the deletion of a missing
object. It gives no generations, checks no signatures and no limits on names
and metadata, and a copy overwrites even when it should not.
"""

import base64
import contextlib
import email.utils
import fcntl
import hashlib
import hmac
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

AZURITE = "azurite@3.35.0"
MOTO = ["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"]
NAME = "kazoo"

# Azurite's well-known account, the one that object_store takes for an emulator.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def installed(name, *commands):
    """The directory `name` of the cache, created by the commands at first use."""
    cache = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "emulators").absolute()
    folder = cache / name
    done = folder / "installed"
    wanted = repr(commands)
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != wanted:
            folder.mkdir(exist_ok=True)
            for command in commands:
                subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
            done.write_text(wanted)
    return folder


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def running(command, port, folder):
    """Runs a server during the block, which starts when the port answers."""
    with open(folder / "log", "w+") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        sys.exit(f"{command[0]} does not listen on port {port}:\n{log.read()}")
                    time.sleep(0.05)
            yield
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def put(port, path, headers):
    """Creates a container or bucket."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("PUT", path, headers={"Content-Length": "0", **headers})
    answer = connection.getresponse()
    if answer.status not in (200, 201):
        sys.exit(f"PUT {path}: {answer.status} {answer.read().decode(errors='replace')}")


@contextlib.contextmanager
def azure(folder):
    """Runs Azurite. Yields the environment for MicrosoftAzureBuilder::from_env()."""
    npm = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts", AZURITE]
    program = installed("azurite", npm) / "node_modules/.bin/azurite-blob"
    port = free_port()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    options += ["--blobKeepAliveTimeout", "600", "--silent", "--disableTelemetry"]
    with running([str(program), *options], port, folder):
        date, version = email.utils.formatdate(usegmt=True), "2021-12-02"
        signed = (
            "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n"
            f"/{ACCOUNT}/{ACCOUNT}/{NAME}\nrestype:container"
        )
        signature = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        put(port, f"/{ACCOUNT}/{NAME}?restype=container", {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}",
        })
        yield {
            "KAZOO_STORAGE_TEST_STORE": f"az://{NAME}",
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}",
        }


@contextlib.contextmanager
def gcs(folder):
    """Runs moto. Yields the environment for GoogleCloudStorageBuilder::from_env()."""
    venv = [sys.executable, "-m", "venv", "--clear", "venv"]
    pip = ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", *MOTO]
    python = installed("moto", venv, pip) / "venv/bin/python"
    port = free_port()
    with running([str(python), os.path.abspath(__file__), "gcs-server", str(port)], port, folder):
        put(port, f"/{NAME}", {})
        yield {
            "KAZOO_STORAGE_TEST_STORE": f"gs://{NAME}",
            "GOOGLE_SERVICE_ACCOUNT": str(folder / "account.json"),
        }


def gcs_server(port):
    """The server that gcs() runs in moto's venv."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from moto.moto_server.werkzeug_app import create_backend_app
    from werkzeug.serving import run_simple

    # With a key, tokens and signed URLs need no request to Google. With
    # disable_oauth, object_store would ask Google to sign the URLs.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pathlib.Path("account.json").write_text(json.dumps({
        "type": "service_account",
        "gcs_base_url": f"http://127.0.0.1:{port}",
        "client_email": "kazoo@example.invalid",
        "private_key_id": "1",
        "private_key": key.decode(),
    }))
    s3 = create_backend_app("s3")
    lock = threading.Lock()

    def translated(request, start):
        # moto stores an object before its metadata, so another request could find the one without the other.
        chunked = request.pop("HTTP_TRANSFER_ENCODING", None)
        body = request["wsgi.input"].read(-1 if chunked else int(request.get("CONTENT_LENGTH") or 0))
        request.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "wsgi.input_terminated": True})
        with lock:
            return list(answered(request, start))

    def answered(request, start):
        if request.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None) == "0":
            request["HTTP_IF_NONE_MATCH"] = "*"
        for name in [name for name in request if name.startswith("HTTP_X_GOOG_")]:
            request[name.replace("_GOOG_", "_AMZ_")] = request.pop(name)

        def answer(status, headers, exc_info=None):
            headers = [(name.lower().replace("x-amz-", "x-goog-"), value) for name, value in headers]
            return start(status, headers, exc_info)

        # S3 accepts the deletion of a missing object. Google answers 404.
        if request["REQUEST_METHOD"] == "DELETE" and "uploadId=" not in request["QUERY_STRING"]:
            status = []
            s3({**request, "REQUEST_METHOD": "HEAD"}, lambda line, *_: status.append(line[:3])).close()
            if status == ["404"]:
                request["REQUEST_METHOD"] = "GET"
        return s3(request, answer)

    run_simple("127.0.0.1", port, translated, threaded=True)


def main():
    match sys.argv[1:]:
        case ["gcs-server", port]:
            return gcs_server(int(port))
        case ["azure" | "gcs" as engine, "--", *command] if command:
            pass
        case _:
            sys.exit("usage: emulators.py azure|gcs -- COMMAND...")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with {"azure": azure, "gcs": gcs}[engine](pathlib.Path(folder)) as settings:
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("AZURE_", "GOOGLE_"))}
            status = subprocess.run(command, env={**kept, **settings}).returncode
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
