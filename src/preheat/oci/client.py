"""A client of the distribution API: pushes an image of a layout, pulls one into it. Blobs are streamed."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable
from typing import IO
from urllib.parse import urljoin, urlsplit

from preheat.oci.blobs import DigestMismatch
from preheat.oci.layout import Layout
from preheat.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor, parse_manifest

Say = Callable[[str], None]

_ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_LOOPBACK = re.compile(r"(?:localhost|[\w.-]+\.localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")
_CHUNK = 1 << 20
_TIMEOUT_S = 120.0
_REDIRECTS = (301, 302, 303, 307, 308)


class RegistryError(Exception):
    """What a registry answered instead; `code` in its own words ("NAME_UNKNOWN"), "" where it gave none."""

    def __init__(self, message: str, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def is_loopback(registry: str) -> bool:
    """Whether a registry is this machine, which Docker and we speak plain HTTP to."""
    return _LOOPBACK.fullmatch(registry) is not None


class RegistryClient:
    """One registry. `credentials` is "user:password" or None. One connection, not for several threads."""

    def __init__(self, registry: str, credentials: str | None = None) -> None:
        self._registry = registry
        self._authorization = base64.b64encode(credentials.encode()).decode() if credentials else None
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def push(self, layout: Layout, image: Descriptor, repository: str, tag: str, say: Say) -> None:
        """Layers, configuration, then the manifest: the tag changes last. Raises RegistryError, OSError."""
        manifest = layout.manifest(image)
        for blob in [*manifest.layers, *([manifest.config] if manifest.config else [])]:
            self._push_blob(layout, repository, blob, say)
        headers = {"Content-Type": manifest.media_type}
        body = layout.blobs.read(image.digest)
        self._expect(201, "PUT", f"/v2/{repository}/manifests/{tag}", body, headers)

    def pull(self, layout: Layout, repository: str, reference: str) -> Descriptor:
        """Manifest, configuration and layers of an image, or the manifest of an index alone. Raises RegistryError."""
        answer, body = self._request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": _ACCEPT})
        self._check(answer, body, 200)
        manifest = parse_manifest(body, answer.headers.get("Content-Type", ""))
        digest = layout.blobs.put(body)
        for blob in manifest.blobs():
            if layout.blobs.size(blob.digest) is None:
                self._pull_blob(layout, repository, blob)
        return Descriptor(manifest.media_type, digest, len(body))

    def _push_blob(self, layout: Layout, repository: str, blob: Descriptor, say: Say) -> None:
        answer, _ = self._request("HEAD", f"/v2/{repository}/blobs/{blob.digest}")
        if answer.status == 200:
            say(f"{blob.digest[7:19]}: there already")
            return
        say(f"{blob.digest[7:19]}: pushing {blob.size / 2**20:.1f} MB")
        location = self._expect(202, "POST", f"/v2/{repository}/blobs/uploads/").headers.get("Location", "")
        separator = "&" if "?" in location else "?"
        with layout.blobs.path(blob.digest).open("rb") as content:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
            self._expect(201, "PUT", f"{location}{separator}digest={blob.digest}", content, headers)

    def _pull_blob(self, layout: Layout, repository: str, blob: Descriptor) -> None:
        answer = self._send("GET", f"/v2/{repository}/blobs/{blob.digest}", None, {})
        if answer.status in _REDIRECTS:
            raise RegistryError(f"{self._registry} keeps {blob.digest} elsewhere: pull with docker or skopeo")
        self._check(answer, b"" if answer.status == 200 else answer.read(), 200)
        writer = layout.blobs.writer()
        try:
            while chunk := answer.read(_CHUNK):
                writer.write(chunk)
            writer.commit(blob.digest)
        except DigestMismatch as error:
            raise RegistryError(str(error)) from None
        finally:
            writer.abort()

    def _expect(
        self,
        status: int,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        answer, content = self._request(method, path, body, headers)
        self._check(answer, content, status)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        answer = self._send(method, path, body, headers or {})
        return answer, answer.read()

    def _send(
        self, method: str, path: str, body: bytes | IO[bytes] | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        """`path` may be a whole URL of this registry. Raises OSError where nothing answers."""
        url = urlsplit(urljoin(f"http://{self._registry}/", path))
        if self._connection is None:
            kind = http.client.HTTPConnection if is_loopback(self._registry) else http.client.HTTPSConnection
            self._connection = kind(self._registry, timeout=_TIMEOUT_S)
        if self._authorization and url.netloc == self._registry:
            headers = {**headers, "Authorization": f"Basic {self._authorization}"}
        target = url.path + (f"?{url.query}" if url.query else "")
        try:
            self._connection.request(method, target, body, headers)
            return self._connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise RegistryError(f"{self._registry} does not answer: {error}") from None

    def _check(self, answer: http.client.HTTPResponse, body: bytes, status: int) -> None:
        if answer.status == status:
            return
        try:
            error = json.loads(body)["errors"][0]
            code, message = str(error["code"]), str(error["message"])
        except (ValueError, LookupError, TypeError):
            code, message = "", body.decode("utf-8", "replace").strip() or http.client.responses.get(answer.status, "")
        raise RegistryError(f"{self._registry} answered {answer.status}: {message}", code, answer.status)
