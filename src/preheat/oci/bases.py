"""What the name after FROM means: a local image, one of a registry on this machine, or a base made here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from preheat.kernel.build import Say
from preheat.oci.client import RegistryClient, RegistryError, is_loopback
from preheat.oci.lambda_base import base_key, make_base, python_version
from preheat.oci.layout import Layout
from preheat.oci.manifest import Descriptor, ManifestError, choose_platform
from preheat.oci.pack import PackedLayer
from preheat.oci.plan import BaseImage
from preheat.oci.reference import Reference

_CACHE = "base-"
_SUFFIXES = {"x86_64": "amd64", "arm64": "arm64"}
"""Of the tags of Lambda's base images that name an architecture."""


class Bases:
    """`interpreter` gives the Python of a version ("3.11"); `credentials` those of a registry on this machine."""

    def __init__(
        self,
        layout: Layout,
        interpreter: Callable[[str], Path],
        emulator: Path,
        credentials: Callable[[str], str | None],
        say: Say,
    ) -> None:
        self._layout = layout
        self._interpreter = interpreter
        self._emulator = emulator
        self._credentials = credentials
        self._say = say

    def find(self, name: str, architecture: str) -> BaseImage:
        """Raises ValueError, RuntimeError saying why there is no such image."""
        reference = Reference.parse(name)
        descriptor = self._layout.find(name) or self._layout.find(str(reference))
        if descriptor is not None:
            return self._image(descriptor, architecture)
        version = python_version(name)
        if version is not None:
            suffix = name.partition("@")[0].rpartition("-")[2]  # python:3.12-arm64
            _check_architecture(_SUFFIXES.get(suffix, architecture), architecture)
            return self._lambda_base(name, version)
        if is_loopback(reference.registry):
            return self._pulled(reference, architecture)
        raise ValueError(
            f"is not among the local images. Bring it here with: skopeo copy docker://{name} "
            f"oci:{self._layout.root}:{name}, or use docker build"
        )

    def _pulled(self, reference: Reference, architecture: str) -> BaseImage:
        client = RegistryClient(reference.registry, self._credentials(reference.registry))
        try:
            descriptor = client.pull(self._layout, reference.repository, reference.digest or reference.tag)
            manifest = self._layout.manifest(descriptor)
            if manifest.is_index:
                chosen = choose_platform(manifest, architecture)
                if chosen is None:
                    raise ValueError(f"has no image for linux/{architecture}")
                descriptor = client.pull(self._layout, reference.repository, chosen.digest)
        except (RegistryError, OSError) as error:
            raise ValueError(str(error)) from None
        finally:
            client.close()
        return self._image(descriptor, architecture)

    def _image(self, descriptor: Descriptor, architecture: str) -> BaseImage:
        try:
            manifest = self._layout.manifest(descriptor)
            if manifest.is_index:
                chosen = choose_platform(manifest, architecture)
                if chosen is None:
                    raise ValueError(f"has no image for linux/{architecture}")
                manifest = self._layout.manifest(chosen)
            assert manifest.config is not None  # parse_manifest gives an image manifest no other way
            configuration = json.loads(self._layout.blobs.read(manifest.config.digest))
            _check_architecture(configuration.get("architecture", architecture), architecture)
            diff_ids = configuration["rootfs"]["diff_ids"]
            pairs = zip(manifest.layers, diff_ids, strict=True)
            return BaseImage(
                tuple(PackedLayer(layer, diff_id) for layer, diff_id in pairs), configuration.get("config") or {}
            )
        except (FileNotFoundError, ManifestError, KeyError, TypeError) as error:
            raise ValueError(f"is broken in {self._layout.root}: {error}") from None

    def _lambda_base(self, name: str, version: str) -> BaseImage:
        python = self._interpreter(version)
        cache = self._layout.root / "cache" / f"{_CACHE}{base_key(python, self._emulator)}.json"
        found = self._cached(cache)
        if found is None:
            self._say(f"making {name} from {python}: it is not among the local images")
            with tempfile.TemporaryDirectory(dir=self._layout.root, prefix=".base-") as work:
                base = make_base(python, self._emulator, self._layout.blobs, Path(work))
            found = BaseImage(base.layers, base.config)
            self._save(cache, found)
        return found

    def _cached(self, path: Path) -> BaseImage | None:
        try:
            value = json.loads(path.read_text())
            layers = tuple(
                PackedLayer(Descriptor(item["mediaType"], item["digest"], item["size"]), item["diff_id"])
                for item in value["layers"]
            )
        except (OSError, ValueError, KeyError):
            return None
        if any(self._layout.blobs.size(layer.descriptor.digest) is None for layer in layers):
            return None
        path.touch()
        return BaseImage(layers, value["config"])

    def _save(self, path: Path, image: BaseImage) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        layers = [{**layer.descriptor.as_dict(), "diff_id": layer.diff_id} for layer in image.layers]
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({"layers": layers, "config": image.config}))
        temporary.replace(path)


def _check_architecture(found: str, wanted: str) -> None:
    if found != wanted:
        raise ValueError(f"is for linux/{found}, this machine is linux/{wanted}: use docker build")
