"""One large blob pushed and pulled, against Debian's docker-registry on the same disk."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.client import HOST, http_request
from bench.cloud import Cloud, up
from bench.processes import free_port, running, wait_until_answered
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import ratio

_PIECE = 1 << 20
_CONFIG = """version: 0.1
log: {{level: error}}
http: {{addr: '{host}:{port}'}}
storage: {{filesystem: {{rootdirectory: '{root}'}}}}
"""


class Registry:
    """A registry's distribution API, one new connection a request."""

    def __init__(self, port: int, authorization: str = "") -> None:
        self._port = port
        self._headers = {"Authorization": authorization} if authorization else {}

    def push_mb_s(self, blob: Path, digest: str) -> float:
        """As Docker does it: one POST, one PUT with the whole content. MB of 1,000,000 bytes."""
        location = urlsplit(self._send("POST", "/v2/bench/blobs/uploads/", 202)[0])
        query = f"{location.query}&digest={digest}" if location.query else f"digest={digest}"
        started = time.perf_counter()
        self._send("PUT", f"{location.path}?{query}", 201, blob)
        return blob.stat().st_size / 1e6 / (time.perf_counter() - started)

    def pull_mb_s(self, blob: Path, digest: str) -> float:
        started = time.perf_counter()
        _, size = self._send("GET", f"/v2/bench/blobs/{digest}", 200)
        if size != blob.stat().st_size:
            raise RuntimeError(f"pulled {size} bytes of {blob.stat().st_size}")
        return size / 1e6 / (time.perf_counter() - started)

    def _send(self, method: str, url: str, status: int, body: Path | None = None) -> tuple[str, int]:
        """The Location of the answer, and the size of its body, which is read and dropped."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=120)
        try:
            if body is None:
                connection.request(method, url, headers=self._headers)
            else:
                with body.open("rb") as content:
                    length = str(body.stat().st_size)
                    connection.request(method, url, content, {**self._headers, "Content-Length": length})
            answer = connection.getresponse()
            size = 0
            while piece := answer.read(_PIECE):
                size += len(piece)
            if answer.status != status:
                raise RuntimeError(f"{method} {url}: {answer.status}")
            return answer.headers.get("Location", ""), size
        finally:
            connection.close()


def over_debian(folder: Path, size: Size) -> list[Result]:
    """Push and pull in alternating rounds; the first round, which fills the page cache, is not counted."""
    blob = folder / "blob"
    with blob.open("wb") as file:
        for _ in range(size.blob_mb):
            file.write(os.urandom(1_000_000))
    with blob.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    port, config, log = free_port(), folder / "registry.yml", folder / "registry.log"
    config.write_text(_CONFIG.format(host=HOST, port=port, root=folder / "registry"))
    pushes: tuple[list[list[float]], list[list[float]]] = ([], [])
    pulls: tuple[list[list[float]], list[list[float]]] = ([], [])
    with running(["docker-registry", "serve", str(config)], log) as peer, up(folder / "ecr", log) as cloud:
        wait_until_answered(peer, port, http_request("GET", "/v2/"), log, 30)
        sides = (_ours(cloud), Registry(port))
        for number in range(size.registry_rounds + 1):
            for side, pushed, pulled in zip(sides, pushes, pulls, strict=True):
                push, pull = side.push_mb_s(blob, digest), side.pull_mb_s(blob, digest)
                if number:
                    pushed.append([push])
                    pulled.append([pull])
    return [
        comparison(key, ratio, ("Preheat", found[0]), ("docker-registry", found[1]), "MB/s")
        for key, found in (("registry_push_over_debian", pushes), ("registry_pull_over_debian", pulls))
    ]


def _ours(cloud: Cloud) -> Registry:
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName="bench")
    token: str = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert base64.b64decode(token).startswith(b"AWS:")
    return Registry(cloud.port, f"Basic {token}")
