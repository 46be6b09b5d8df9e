"""A registry in this process: requests as the front would hand them over, images as a client would push them."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.ecr import tokens
from preheat.services.ecr.distribution import Distribution
from preheat.services.ecr.models import Repository
from preheat.services.ecr.registry import Registry

ACCOUNT = "000000000000"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    length: int | None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(self.json()["errors"][0]["code"])


class Bench:
    """A registry whose clock the test sets, and its distribution API. Repositories "app" and "other" exist."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.now_s = time.time()
        self.open()
        for name in ("app", "other"):
            self.registry.store.put_repository(Repository(name, self.now_s))
        self.password = tokens.issue(self.registry.store.secret(), int(self.now_s) + tokens.LIFETIME_S)

    def open(self) -> None:
        """As a new process would: nothing but the files."""
        self.registry = Registry(self.data_dir, ACCOUNT, clock=lambda: self.now_s)
        self.distribution = Distribution(self.registry)

    def close(self) -> None:
        self.distribution.close()
        self.registry.close()

    def restart(self) -> None:
        """After a SIGKILL: nothing was closed in order."""
        self.registry.close()
        self.open()

    def request(self, method: str, url: str, body: bytes = b"", **headers: str) -> HttpRequest:
        """Keyword headers: `content_type` is Content-Type. Authorised unless `authorization` says otherwise."""
        target = urlsplit(url)
        login = base64.b64encode(f"AWS:{self.password}".encode()).decode()
        named = {"host": "127.0.0.1:4566", "authorization": f"Basic {login}", **headers}
        pairs = [(name.replace("_", "-").title(), value) for name, value in named.items() if value]
        return HttpRequest(method, target.path, target.query, pairs, body)

    def send(self, method: str, url: str, body: bytes = b"", **headers: str) -> Reply:
        return self.serve(self.request(method, url, body, **headers))

    def serve(self, request: HttpRequest) -> Reply:
        """What the front does: head, body in pieces, answer."""
        request.sink = self.distribution.stream(request)
        if request.sink is not None:
            for start in range(0, len(request.body), 7):
                request.sink.write(request.body[start : start + 7])
            request.body = b""
        return asyncio.run(self._answer(request))

    async def _answer(self, request: HttpRequest) -> Reply:
        response: HttpResponse = await self.distribution.handle(request)
        body = response.body
        if response.stream is not None and request.method != "HEAD":
            body = b"".join([piece async for piece in response.stream])
            assert len(body) == response.length
        headers = {name.lower(): value for name, value in response.headers}
        return Reply(response.status, headers, body, response.length)

    # clients' work

    def push_blob(self, data: bytes, repository: str = "app") -> str:
        name = digest(data)
        reply = self.send("POST", f"/v2/{repository}/blobs/uploads/?digest={name}", data)
        assert reply.status == 201, reply.body
        return name

    def push_image(self, name: str = "one", tag: str = "latest", repository: str = "app", **extra: Any) -> str:
        """An image with one layer that holds one file; returns its digest."""
        body = self.image(name, repository, **extra)
        reply = self.send("PUT", f"/v2/{repository}/manifests/{tag or digest(body)}", body, content_type=MANIFEST)
        assert reply.status == 201, reply.body
        return reply.headers["docker-content-digest"]

    def image(self, name: str, repository: str = "app", **extra: Any) -> bytes:
        """A manifest whose blobs are pushed."""
        plain = layer(name)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": [name]},
            "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
        }
        blobs = [(CONFIG, json.dumps(config).encode()), (LAYER, gzip.compress(plain, mtime=0))]
        described = [{"mediaType": kind, "digest": digest(data), "size": len(data)} for kind, data in blobs]
        for _, data in blobs:
            self.push_blob(data, repository)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        return json.dumps({**manifest, **extra}).encode()

    def push_index(self, digests: list[str], tag: str = "index") -> Reply:
        manifests = [{"mediaType": MANIFEST, "digest": name, "size": 1} for name in digests]
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
        return self.send("PUT", f"/v2/app/manifests/{tag}", body, content_type=INDEX)

    def blobs(self) -> set[str]:
        return set(self.registry.blobs.digests())


def layer(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(name)
        archive.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()
