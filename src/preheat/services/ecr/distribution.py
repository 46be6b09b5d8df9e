"""The OCI distribution API under /v2/ (distribution-spec 1.1), as ECR serves it, for Docker and its like."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from preheat.kernel.errors import AwsError
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.oci.blobs import DigestMismatch
from preheat.oci.digest import digest_of, is_digest
from preheat.oci.manifest import OCI_INDEX, Descriptor, parse_manifest
from preheat.services.ecr import tokens
from preheat.services.ecr.models import Image, is_repository_name, is_tag
from preheat.services.ecr.registry import Registry
from preheat.services.ecr.replies import expired, failure, json_reply, reply, translated, unauthorized
from preheat.services.ecr.uploads import Upload, Uploads, UploadSink

_ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/(?P<rest>[^/]*)")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/(?:\d+|\*))?")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE = 256 * 1024
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, taken apart. `rest` is a digest, a tag, an upload's id or "list"."""

    request: HttpRequest
    name: str
    kind: str
    rest: str
    query: dict[str, list[str]]

    def parameter(self, name: str) -> str:
        return self.query.get(name, [""])[0]


class Distribution:
    """`matches` and `stream` when the head of a request has come, `handle` when all of it has."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._uploads = Uploads(registry.blobs)
        self._secret = registry.store.secret()
        self._handlers: dict[tuple[str, str], Callable[[_Call], Coroutine[Any, Any, HttpResponse]]] = {
            ("blobs", "GET"): self._get_blob,
            ("blobs", "HEAD"): self._head_blob,
            ("blobs", "DELETE"): self._delete_blob,
            ("blobs/uploads", "POST"): self._start_upload,
            ("blobs/uploads", "GET"): self._upload_status,
            ("blobs/uploads", "PATCH"): self._patch_upload,
            ("blobs/uploads", "PUT"): self._finish_upload,
            ("blobs/uploads", "DELETE"): self._cancel_upload,
            ("manifests", "GET"): self._get_manifest,
            ("manifests", "HEAD"): self._get_manifest,
            ("manifests", "PUT"): self._put_manifest,
            ("manifests", "DELETE"): self._delete_manifest,
            ("tags", "GET"): self._list_tags,
            ("referrers", "GET"): self._list_referrers,
        }

    def close(self) -> None:
        self._uploads.close()

    @staticmethod
    def matches(path: str) -> bool:
        return path == "/v2" or path.startswith("/v2/")

    def stream(self, request: HttpRequest) -> UploadSink | None:
        """Where the body of an upload goes, decided by the request's head; None for every other request."""
        call = _parse(request)
        if call is None or call.kind != "blobs/uploads" or request.method not in ("POST", "PATCH", "PUT"):
            return None
        refusal = self._refused(request)
        if refusal is not None:
            return UploadSink(None, refusal)
        try:
            self._registry.repository(call.name)
        except AwsError as error:
            return UploadSink(None, translated(error))
        if request.method == "POST":
            if call.parameter("mount"):
                return UploadSink(None, None)
            return UploadSink(self._uploads.create(call.name), None, self._discard)
        upload = self._uploads.find(call.name, call.rest)
        if upload is None:
            return UploadSink(None, _no_upload(call.rest))
        if upload.busy:
            return UploadSink(None, failure(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload"))
        return UploadSink(upload, _out_of_order(call, upload))

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Never raises for what a client can do."""
        sink: UploadSink | None = request.sink
        try:
            if sink is not None and sink.refusal is not None:
                return sink.refusal
            refusal = self._refused(request)
            if refusal is not None:
                return refusal
            return await self._answer(request)
        except AwsError as error:
            return translated(error)
        finally:
            if sink is not None:
                sink.done()

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path.rstrip("/") == "/v2":
            return json_reply({})
        call = _parse(request)
        if call is None:
            return failure(404, "UNSUPPORTED", f"no such endpoint: {request.path}")
        handler = self._handlers.get((call.kind, request.method))
        if handler is None:
            return failure(405, "UNSUPPORTED", f"{request.method} is not for {call.kind}")
        if not is_repository_name(call.name):
            return failure(400, "NAME_INVALID", f"invalid repository name {call.name!r}")
        self._registry.repository(call.name)
        return await handler(call)

    def _refused(self, request: HttpRequest) -> HttpResponse | None:
        """None for a request with a token of ours that has not ended."""
        password = tokens.basic_password(request.header("authorization"))
        expires_s = None if password is None else tokens.expiry(self._secret, password)
        if expires_s is None:
            return unauthorized(request.header("host") or "localhost")
        return expired() if expires_s < self._registry.clock() else None

    # blobs

    async def _head_blob(self, call: _Call) -> HttpResponse:
        size = self._registry.blob_size(call.name, call.rest)
        if size is None:
            return _no_blob(call.rest)
        self._registry.rely_on(call.name, call.rest)  # a push asks before it leaves a blob out
        return HttpResponse(200, _blob_headers(call.rest), length=size, stream=_nothing())

    async def _get_blob(self, call: _Call) -> HttpResponse:
        size = self._registry.blob_size(call.name, call.rest)
        if size is None:
            return _no_blob(call.rest)
        path, asked = self._registry.blobs.path(call.rest), call.request.header("range")
        wanted = _byte_range(asked, size) if asked else None
        if wanted is None:
            return HttpResponse(200, _blob_headers(call.rest), length=size, stream=_pieces(path, 0, size))
        first, last = wanted
        if first > last:
            return failure(416, "RANGE_INVALID", f"{asked} of {size} bytes", [("Content-Range", f"bytes */{size}")])
        headers = [*_blob_headers(call.rest), ("Content-Range", f"bytes {first}-{last}/{size}")]
        length = last - first + 1
        return HttpResponse(206, headers, length=length, stream=_pieces(path, first, length))

    async def _delete_blob(self, call: _Call) -> HttpResponse:
        if self._registry.blob_size(call.name, call.rest) is None:
            return _no_blob(call.rest)
        if users := self._registry.store.users(call.name, call.rest):
            return failure(405, "UNSUPPORTED", f"blob is needed by {', '.join(users)}")
        self._registry.store.unlink(call.name, call.rest)
        self._registry.release()
        return reply(202)

    # uploads

    async def _start_upload(self, call: _Call) -> HttpResponse:
        if mount := call.parameter("mount"):
            if is_digest(mount) and self._registry.mount(call.parameter("from") or call.name, call.name, mount):
                return _blob_created(call.name, mount)
            return _upload_reply(202, self._uploads.create(call.name))
        upload = _upload_of(call)
        digest = call.parameter("digest")
        if not digest:
            return _upload_reply(202, upload)
        return await self._commit(upload, digest)

    async def _upload_status(self, call: _Call) -> HttpResponse:
        upload = self._uploads.find(call.name, call.rest)
        return _no_upload(call.rest) if upload is None else _upload_reply(204, upload)

    async def _patch_upload(self, call: _Call) -> HttpResponse:
        upload = _upload_of(call)
        return _wrong_length(call) or _upload_reply(202, upload)

    async def _finish_upload(self, call: _Call) -> HttpResponse:
        upload = _upload_of(call)
        return _wrong_length(call) or await self._commit(upload, call.parameter("digest"))

    async def _cancel_upload(self, call: _Call) -> HttpResponse:
        upload = self._uploads.find(call.name, call.rest)
        if upload is None:
            return _no_upload(call.rest)
        self._discard(upload)
        return reply(204)

    async def _commit(self, upload: Upload, digest: str) -> HttpResponse:
        if not is_digest(digest):
            self._discard(upload)
            return failure(400, "DIGEST_INVALID", f"provided digest is not valid: {digest!r}")
        if digest == upload.writer.digest:  # before it is there, so that a deletion meanwhile spares it
            self._registry.rely_on(upload.repository, digest)
        try:
            await asyncio.to_thread(upload.writer.commit, digest)
        except DigestMismatch as error:
            message = "provided digest did not match uploaded content"
            return failure(400, "DIGEST_INVALID", message, detail={"reason": str(error)})
        except OSError as error:
            upload.writer.abort()
            return failure(500, "UNKNOWN", f"the registry cannot store this: {error.strerror}")
        finally:
            self._uploads.finish(upload)
        return _blob_created(upload.repository, digest)

    def _discard(self, upload: Upload) -> None:
        upload.writer.abort()
        self._uploads.finish(upload)

    # manifests

    async def _get_manifest(self, call: _Call) -> HttpResponse:
        image = self._find(call)
        body = self._registry.body(image)
        headers = [("Content-Type", image.media_type), ("Docker-Content-Digest", image.digest)]
        if call.request.method == "GET":
            self._registry.store.note_pull(image.repository, image.digest, self._registry.clock())
        return reply(200, headers, body)

    async def _put_manifest(self, call: _Call) -> HttpResponse:
        media_type, body = call.request.header("content-type") or "", call.request.body
        tag = None if ":" in call.rest else call.rest
        if tag is None and call.rest != digest_of(body):
            return failure(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        if tag is not None and not is_tag(tag):
            return failure(400, "TAG_INVALID", f"invalid tag {tag!r}")
        image, manifest = self._registry.put(call.name, body, media_type=media_type, tag=tag)
        headers = [
            ("Location", f"/v2/{call.name}/manifests/{image.digest}"),
            ("Docker-Content-Digest", image.digest),
        ]
        if manifest.subject is not None:
            headers.append(("OCI-Subject", manifest.subject.digest))
        return reply(201, headers)

    async def _delete_manifest(self, call: _Call) -> HttpResponse:
        image = self._find(call)
        by_tag = ":" not in call.rest
        parents = self._registry.store.parents(call.name, image.digest)
        if parents and not by_tag:
            return failure(405, "UNSUPPORTED", f"image is referenced by {', '.join(parents)}")
        if by_tag:
            self._registry.store.delete_tag(call.name, call.rest)
        else:
            self._registry.delete(image)
        return reply(202)

    def _find(self, call: _Call) -> Image:
        member = "imageDigest" if ":" in call.rest else "imageTag"
        return self._registry.find(call.name, {member: call.rest})

    # lists

    async def _list_tags(self, call: _Call) -> HttpResponse:
        if call.rest != "list":
            return failure(404, "UNSUPPORTED", f"no such endpoint: {call.request.path}")
        asked = call.parameter("n")
        if asked and not asked.isdecimal():
            return failure(400, "PAGINATION_NUMBER_INVALID", f"invalid number of results requested: {asked!r}")
        count = min(int(asked), _PAGE) if asked else _PAGE
        found = self._registry.store.tags(call.name, call.parameter("last"), count + 1)
        tags, headers = found[:count], []
        if len(found) > count and tags:
            headers.append(("Link", f'</v2/{call.name}/tags/list?n={count}&last={tags[-1]}>; rel="next"'))
        return json_reply({"name": call.name, "tags": tags}, headers)

    async def _list_referrers(self, call: _Call) -> HttpResponse:
        if not is_digest(call.rest):
            return failure(400, "DIGEST_INVALID", f"provided digest is not valid: {call.rest!r}")
        wanted = call.parameter("artifactType")
        found = self._registry.store.referrers(call.name, call.rest)
        manifests = [self._descriptor(image) for image in found if not wanted or image.artifact_type == wanted]
        headers = [("OCI-Filters-Applied", "artifactType")] if wanted else []
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return json_reply(index, headers, OCI_INDEX)

    def _descriptor(self, image: Image) -> dict[str, Any]:
        body = self._registry.body(image)
        annotations = parse_manifest(body, image.media_type).annotations
        return Descriptor(
            image.media_type, image.digest, len(body), artifact_type=image.artifact_type, annotations=annotations
        ).as_dict()


def _parse(request: HttpRequest) -> _Call | None:
    """None for a path that is none of this API's."""
    match = _ROUTE.fullmatch(request.path) or _ROUTE.fullmatch(request.path + "/")
    if match is None:
        return None
    return _Call(request, match["name"], match["kind"], unquote(match["rest"]), parse_qs(request.query))


def _upload_of(call: _Call) -> Upload:
    upload = call.request.sink.upload
    assert isinstance(upload, Upload)  # `stream` has seen to it: without one there is a refusal
    return upload


def _out_of_order(call: _Call, upload: Upload) -> HttpResponse | None:
    """A chunk must begin where the last one ended (distribution-spec, "Pushing a blob in chunks")."""
    text = call.request.header("content-range")
    if text is None:
        return None
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None or int(match[2]) < int(match[1]):
        return failure(400, "BLOB_UPLOAD_INVALID", f"invalid Content-Range {text!r}")
    if int(match[1]) != upload.writer.size:
        return failure(416, "RANGE_INVALID", "the chunk does not begin where the last one ended", _where(upload))
    return None


def _wrong_length(call: _Call) -> HttpResponse | None:
    """A chunk must be as long as it says; one that is not is taken back."""
    sink: UploadSink = call.request.sink
    match = _CONTENT_RANGE.fullmatch(call.request.header("content-range") or "")
    upload, start = sink.upload, sink.start
    wanted = int(match[2]) - int(match[1]) + 1 if match is not None else None
    if wanted is None or upload is None or start is None or upload.writer.size - start.size == wanted:
        return None
    upload.writer.back_to(start)
    return failure(400, "SIZE_INVALID", "the chunk is not as long as its Content-Range", _where(upload))


def _where(upload: Upload) -> Headers:
    return [
        ("Location", f"/v2/{upload.repository}/blobs/uploads/{upload.id}"),
        ("Range", f"0-{max(upload.writer.size - 1, 0)}"),
        ("Docker-Upload-UUID", upload.id),
    ]


def _upload_reply(status: int, upload: Upload) -> HttpResponse:
    return reply(status, _where(upload))


def _blob_created(name: str, digest: str) -> HttpResponse:
    return reply(201, [("Location", f"/v2/{name}/blobs/{digest}"), ("Docker-Content-Digest", digest)])


def _blob_headers(digest: str) -> Headers:
    return [
        ("Docker-Distribution-Api-Version", "registry/2.0"),
        ("Content-Type", "application/octet-stream"),
        ("Docker-Content-Digest", digest),
        ("Accept-Ranges", "bytes"),
        ("Etag", f'"{digest}"'),
    ]


def _no_blob(digest: str) -> HttpResponse:
    if not is_digest(digest):
        return failure(400, "DIGEST_INVALID", f"provided digest is not valid: {digest!r}")
    return failure(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})


def _no_upload(upload_id: str) -> HttpResponse:
    return failure(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", detail={"upload": upload_id})


def _byte_range(asked: str, size: int) -> tuple[int, int] | None:
    """First and last byte; first > last where there are none. None: answer as if nothing was asked (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(asked)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(size - int(match[2]), 0), size - 1
    first, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    return first, min(last, size - 1)


async def _pieces(path: Path, start: int, length: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = length
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


async def _nothing() -> AsyncIterator[bytes]:
    """The body of an answer to HEAD, which the front never asks for."""
    return
    yield b""
