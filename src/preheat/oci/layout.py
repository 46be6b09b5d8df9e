"""OCI image layouts (image-spec, image-layout.md): a directory of images by name, as skopeo and umoci read it."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from preheat.oci.blobs import BlobStore
from preheat.oci.digest import is_digest
from preheat.oci.manifest import OCI_INDEX, Descriptor, Manifest, parse_manifest

_REF_NAME = "org.opencontainers.image.ref.name"
_VERSION = {"imageLayoutVersion": "1.0.0"}


class Layout:
    """The images that `preheat build` makes. Several processes may use one layout at once."""

    def __init__(self, root: Path) -> None:
        """Makes the directory where it is missing."""
        self.root = root.absolute()
        self.blobs = BlobStore(self.root / "blobs", self.root / ".work")
        self._index = self.root / "index.json"
        marker = self.root / "oci-layout"
        if not marker.exists():
            _write(marker, _VERSION)

    def find(self, name: str) -> Descriptor | None:
        """The manifest or index that a name means."""
        for entry in self._entries():
            if entry.annotations.get(_REF_NAME) == name:
                return entry
        return None

    def names(self) -> list[str]:
        """Names of all images, sorted."""
        return sorted(entry.annotations[_REF_NAME] for entry in self._entries() if _REF_NAME in entry.annotations)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Raises FileNotFoundError where the layout does not have it, ManifestError where it is none."""
        return parse_manifest(self.blobs.read(descriptor.digest), descriptor.media_type)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Let a name mean an image from now on."""
        with self._locked():
            others = [entry for entry in self._entries() if entry.annotations.get(_REF_NAME) != name]
            annotations = {**descriptor.annotations, _REF_NAME: name}
            named = Descriptor(
                descriptor.media_type, descriptor.digest, descriptor.size, "", descriptor.platform, annotations
            )
            self._save([*others, named])

    def collect(self, keep: set[str], older_than_s: float) -> tuple[int, int]:
        """Delete blobs of no image and not in `keep`, last touched before `older_than_s`; (how many, bytes)."""
        with self._locked():
            needed = set(keep)
            for entry in self._entries():
                needed |= self._closure(entry)
            return self.blobs.collect(needed, older_than_s)

    def _closure(self, descriptor: Descriptor) -> set[str]:
        names = {descriptor.digest}
        try:
            manifest = self.manifest(descriptor)
        except (FileNotFoundError, ValueError):
            return names
        names.update(blob.digest for blob in manifest.blobs())
        for child in manifest.manifests:
            names |= self._closure(child)
        return names

    def _entries(self) -> list[Descriptor]:
        try:
            found: list[dict[str, Any]] = json.loads(self._index.read_text())["manifests"]
        except FileNotFoundError:
            return []
        entries = []
        for item in found:
            if is_digest(item.get("digest", "")):
                annotations, platform = item.get("annotations") or {}, item.get("platform") or {}
                entries.append(Descriptor(item["mediaType"], item["digest"], item["size"], "", platform, annotations))
        return entries

    def _save(self, entries: list[Descriptor]) -> None:
        manifests = [entry.as_dict() for entry in entries]
        _write(self._index, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    with temporary.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
