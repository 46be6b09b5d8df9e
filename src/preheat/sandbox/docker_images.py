"""Images in Docker's engine: brought there once per digest, taken away when nobody needs them any more."""

from __future__ import annotations

import asyncio
import json
import tarfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError
from preheat.kernel.image import ImageProgram, ResolvedImage
from preheat.sandbox.docker_api import DockerApi, DockerError

_CHUNK = 1 << 20
_PLATFORMS = {"x86_64": "amd64", "arm64": "arm64"}
_KEPT = ("Entrypoint", "Cmd", "Env", "WorkingDir", "Labels")
"""Of the image's configuration. Its Volumes would be writable, its Healthcheck would run beside the handler."""


class DockerImages:
    """Images named `<repository>:<hex of the digest>`. From any thread.

    An archive holds the blobs as they were pushed (the engine unpacks gzip; zstd from version 23 on) and leaves out
    the layers that this engine has in some image already: it keeps each once.
    """

    def __init__(self, api: DockerApi, repository: str) -> None:
        self._api = api
        self._repository = repository
        self._lock = threading.Lock()
        self._unwanted: set[str] = set()

    def program(self, image: ResolvedImage, blobs: Sequence[Path]) -> ImageProgram:
        """What to run of it, once the engine has it; `blobs` are its layers' files. Raises PreheatError."""
        name = self.name(image.digest)
        try:
            with self._lock:
                self._unwanted.discard(name)
                if not self._has(name):
                    self._load(name, image, blobs)
        except (DockerError, OSError) as error:
            raise PreheatError(f"Docker cannot load the image {image.uri}: {error}") from None
        return ImageProgram(layers=(), command=(), name=name)

    def name(self, digest: str) -> str:
        return f"{self._repository}:{digest.removeprefix('sha256:')}"

    def keep(self, digests: Collection[str]) -> None:
        """Only these are wanted from now on; the others go, as soon as no container is made of them."""
        with self._lock, suppress(OSError, DockerError):
            wanted = {self.name(digest) for digest in digests}
            filters = json.dumps({"reference": [self._repository]})
            listed = self._api.call("GET", "/images/json", filters=filters) or []
            self._unwanted = {tag for entry in listed for tag in entry.get("RepoTags") or () if tag not in wanted}
            self._sweep()

    def sweep(self) -> None:
        """A container has gone: try again to remove what is not wanted."""
        with self._lock:
            self._sweep()

    def _sweep(self) -> None:
        for name in list(self._unwanted):
            with suppress(OSError, DockerError):  # 409 while a container uses it
                self._api.call("DELETE", f"/images/{name}")
                self._unwanted.discard(name)

    def _has(self, name: str) -> bool:
        try:
            self._api.call("GET", f"/images/{name}/json")
        except DockerError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _load(self, name: str, image: ResolvedImage, blobs: Sequence[Path]) -> None:
        there = self._chains()
        files = dict(zip(image.layers, blobs, strict=True))
        missing = {
            diff_id: files[diff_id] for end, diff_id in enumerate(image.layers, 1) if image.layers[:end] not in there
        }
        try:
            self._api.load(archive(name, image, missing))
        except DockerError:
            if len(missing) == len(files):
                raise
            self._api.load(archive(name, image, files))  # an engine that wants all of them every time

    def _chains(self) -> set[tuple[str, ...]]:
        """Every stack of layers, from the lowest up, that some image of this engine has."""
        found: set[tuple[str, ...]] = set()
        for entry in self._api.call("GET", "/images/json") or []:
            with suppress(DockerError):  # it is being removed
                layers = self._api.call("GET", f"/images/{entry['Id']}/json")["RootFS"].get("Layers") or []
                found.update(tuple(layers[:end]) for end in range(1, len(layers) + 1))
        return found


class DockerPreparer:
    """The `ImagePreparer` of the docker sandbox; `files` gives an image's layers as they were pushed."""

    def __init__(self, images: DockerImages, files: Callable[[ResolvedImage], tuple[Path, ...]]) -> None:
        self._images = images
        self._files = files
        self._wanted: set[str] = set()

    async def prepare(self, image: ResolvedImage) -> ImageProgram:
        self._wanted.add(image.digest)
        return await asyncio.to_thread(self._images.program, image, self._files(image))

    def fit(self, program: ImageProgram) -> ImageProgram:
        return program

    def keep(self, digests: Collection[str]) -> None:
        """In a thread; what is wanted by the time it runs counts, so that an image on its way here is spared."""
        self._wanted = set(digests)
        asyncio.get_running_loop().run_in_executor(None, lambda: self._images.keep(self._wanted))


def archive(name: str, image: ResolvedImage, layers: dict[str, Path]) -> Iterator[bytes]:
    """What `docker load` reads (moby, image/spec/v1.2.md): a manifest, a configuration, the layers given by diff id."""
    configuration: dict[str, Any] = {
        "os": "linux",
        "architecture": _PLATFORMS[image.architecture],
        "config": {key: image.config[key] for key in _KEPT if image.config.get(key)},
        "rootfs": {"type": "layers", "diff_ids": list(image.layers)},
    }
    entries = [f"{diff_id.removeprefix('sha256:')}.tar" for diff_id in image.layers]
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": entries}]
    yield from _member("config.json", json.dumps(configuration).encode())
    for diff_id, path in layers.items():
        yield from _member(f"{diff_id.removeprefix('sha256:')}.tar", path)
    yield from _member("manifest.json", json.dumps(manifest).encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, content: bytes | Path) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    yield info.tobuf()
    if isinstance(content, bytes):
        yield content
    else:
        with content.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    yield bytes(-info.size % tarfile.BLOCKSIZE)
