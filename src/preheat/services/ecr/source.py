"""The images of this registry, as those who run functions want them (`kernel.image.ImageSource`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from preheat.kernel.errors import AwsError, PreheatError
from preheat.kernel.image import ImageMissing, ImageUnsupported, ResolvedImage
from preheat.oci.digest import hex_of
from preheat.oci.layers import Layer, LayerStore, chain_id
from preheat.oci.manifest import DOCKER_CONFIG, LAYERS, OCI_CONFIG, Manifest, parse_manifest
from preheat.oci.reference import Reference
from preheat.oci.tarstream import LayerRefused
from preheat.services.ecr.registry import Registry

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
_SOON_S, _AGAIN_S = 0.5, 30.0
"""Directories nobody holds are looked for this long after an image was let go, and again while environments run from
some of them: an environment outlives its function by the invocation it serves."""
_WHAT_TO_DO = "build it with docker build --provenance=false, or push it with preheat push, which picks one platform"


class RegistryImages:
    """For the server's own thread, but for the two directories, which take their time and are for another."""

    def __init__(
        self, registry: Registry, data_dir: Path, in_use: Callable[[], Collection[str]] = frozenset[str]
    ) -> None:
        """`in_use` names the directories that living environments run from, whoever holds their images."""
        self._registry = registry
        self._in_use = in_use
        self._let_go = asyncio.Event()
        """There may be directories that nobody holds any more."""
        self._held_up = False
        """Environments still run from some of them."""
        self._freeing: asyncio.Task[None] | None = None
        self._layers = LayerStore(data_dir, registry.blobs)

    def resolve(self, image_uri: str) -> ResolvedImage:
        try:
            reference = Reference.parse(image_uri)
            image_id = {"imageDigest": reference.digest} if reference.digest else {"imageTag": reference.tag}
            image = self._registry.find(reference.repository, image_id)
        except (ValueError, AwsError):
            raise ImageMissing(image_uri) from None
        manifest = parse_manifest(self._registry.body(image), image.media_type)
        config = self._config(manifest)
        return ResolvedImage(
            uri=f"{reference.registry}/{reference.repository}@{image.digest}",
            digest=image.digest,
            architecture=_architecture(config),
            config=config.get("config") or {},
            layers=tuple(config["rootfs"]["diff_ids"]),
            size_bytes=image.size_bytes,
            blobs=tuple(layer.digest for layer in manifest.layers),
        )

    def pin(self, holder: str, digest: str) -> None:
        self._registry.store.pin(holder, digest)

    def unpin(self, holder: str) -> None:
        digest = self._registry.store.pin_of(holder)
        if digest is not None:
            self._registry.store.unpin(holder)
            self._registry.release()
            self._let_go.set()
            if self._freeing is None or self._freeing.done():
                with contextlib.suppress(RuntimeError):  # no loop, no server: the next start collects
                    self._freeing = asyncio.get_running_loop().create_task(self._free())

    def pinned(self) -> list[str]:
        return self._registry.store.pinned()

    def layer_files(self, image: ResolvedImage) -> tuple[Path, ...]:
        return tuple(self._registry.blobs.path(blob) for blob in image.blobs)

    def layer_directories(self, image: ResolvedImage) -> tuple[Path, ...]:
        try:
            return self._layers.directories(_layers(image))
        except (LayerRefused, FileNotFoundError, PermissionError) as error:
            raise PreheatError(f"image {image.uri} cannot be unpacked: {error}") from None

    def flat_directory(self, image: ResolvedImage) -> Path:
        try:
            return self._layers.flat(_layers(image))
        except (LayerRefused, FileNotFoundError) as error:
            raise PreheatError(f"image {image.uri} cannot be unpacked: {error}") from None

    async def collect(self) -> int:
        """Remove unpacked layers of images that neither a function holds nor an environment runs from. Returns how
        many directories went."""
        began_s, in_use = time.time(), self._in_use()
        pinned = [self._diff_ids(digest) for digest in self._registry.store.pinned()]
        diff_ids = {diff_id for image in pinned for diff_id in image}
        chains = {chain_id(image) for image in pinned}
        held = {hex_of(name) for name in (*diff_ids, *chains)}
        self._held_up = any(Path(path).name not in held for path in in_use)
        return await asyncio.to_thread(self._layers.collect, diff_ids, chains, began_s, in_use)

    def close(self) -> None:
        """Stop giving disk back."""
        if self._freeing is not None:
            self._freeing.cancel()

    async def _free(self) -> None:
        while self._let_go.is_set() or self._held_up:
            self._let_go.clear()
            await asyncio.sleep(_SOON_S)
            await self.collect()
            if self._held_up:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._let_go.wait(), _AGAIN_S)

    def _diff_ids(self, digest: str) -> tuple[str, ...]:
        """Of an image that somebody has pinned, which keeps its manifest and its configuration."""
        kept = self._registry.store.manifest(digest)
        if kept is None:
            raise ImageMissing(digest)
        return tuple(self._config(parse_manifest(kept[1], kept[0]))["rootfs"]["diff_ids"])

    def _config(self, manifest: Manifest) -> dict[str, Any]:
        """The configuration of a single image. Raises ImageUnsupported for anything else."""
        if manifest.is_index:
            raise ImageUnsupported(f"it is an image index: {_WHAT_TO_DO}")
        config = manifest.config
        if config is None or config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
            raise ImageUnsupported(f"it is no container image but a {manifest.artifact_type or 'thing unnamed'}")
        if any(layer.media_type not in LAYERS for layer in manifest.layers):
            raise ImageUnsupported(f"it has a layer that is no file system (an attestation?): {_WHAT_TO_DO}")
        try:
            value = json.loads(self._registry.blobs.read(config.digest))
            diff_ids = value["rootfs"]["diff_ids"]
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            raise ImageUnsupported("its configuration is broken") from None
        if not diff_ids or len(diff_ids) != len(manifest.layers) or not isinstance(value, dict):
            raise ImageUnsupported("its configuration does not fit its layers")
        return value


def _layers(image: ResolvedImage) -> list[Layer]:
    return [Layer(blob, diff_id) for blob, diff_id in zip(image.blobs, image.layers, strict=True)]


def _architecture(config: Mapping[str, Any]) -> str:
    architecture = _ARCHITECTURES.get(str(config.get("architecture")))
    if config.get("os") != "linux" or architecture is None:
        raise ImageUnsupported(f"it is for {config.get('os')}/{config.get('architecture')}, not linux/amd64 or arm64")
    return architecture
