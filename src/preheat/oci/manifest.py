"""Manifests and indexes, of OCI (image-spec 1.1) and of Docker (image manifest version 2, schema 2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from preheat.oci.digest import is_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
INDEXES = frozenset((OCI_INDEX, DOCKER_INDEX))
LAYERS = frozenset(
    (
        OCI_LAYER,
        f"{OCI_LAYER}+gzip",
        f"{OCI_LAYER}+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
)
MANIFEST_BYTES = 4 * 2**20
"""A registry must take manifests of up to 4 MiB (distribution-spec 1.1, "Pushing Manifests"); ECR's limit too."""


class ManifestError(ValueError):
    """Not a manifest that this registry knows."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of something else."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    platform: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Its content is elsewhere (Windows base layers)."""
        return bool(self.urls) or "foreign" in self.media_type or "nondistributable" in self.media_type

    def as_dict(self) -> dict[str, Any]:
        """As in a manifest, without what is empty."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform:
            value["platform"] = dict(self.platform)
        if self.urls:
            value["urls"] = list(self.urls)
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image (config and layers) or an index (manifests); `artifact_type` falls back to the config's media type."""

    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str
    annotations: Mapping[str, str]

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    def blobs(self) -> Iterable[Descriptor]:
        """Config and layers whose content belongs to the image, config first."""
        if self.config is not None:
            yield self.config
        yield from (layer for layer in self.layers if not layer.foreign)


def parse_manifest(body: bytes, content_type: str = "") -> Manifest:
    """Read a manifest or an index; `content_type` is what its sender called it. Raises ManifestError."""
    if len(body) > MANIFEST_BYTES:
        raise ManifestError("manifest is larger than 4 MiB")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"manifest is not JSON: {error}") from None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise ManifestError("manifest is not of schema version 2")
    media_type = _media_type(value, content_type.partition(";")[0].strip())
    is_index = media_type in INDEXES
    if is_index and ("layers" in value or "config" in value):
        raise ManifestError("an index has no config and no layers")
    if not is_index and "config" not in value:
        raise ManifestError("an image manifest needs a config")
    config = None if is_index else _descriptor(value["config"])
    return Manifest(
        media_type=media_type,
        config=config,
        layers=() if is_index else _descriptors(value.get("layers")),
        manifests=_descriptors(value.get("manifests")) if is_index else (),
        subject=_descriptor(value["subject"]) if value.get("subject") else None,
        artifact_type=_text(value.get("artifactType")) or (config.media_type if config else ""),
        annotations=_strings(value.get("annotations")),
    )


def choose_platform(index: Manifest, architecture: str) -> Descriptor | None:
    """The linux manifest of an index for an architecture in Go's words (amd64, arm64); attestations never match."""
    for candidate in index.manifests:
        if candidate.platform.get("os") == "linux" and candidate.platform.get("architecture") == architecture:
            return candidate
    return None


def _media_type(value: Mapping[str, Any], sent: str) -> str:
    own = _text(value.get("mediaType"))
    if own and sent and own != sent:
        raise ManifestError(f"manifest says it is {own}, its Content-Type says {sent}")
    guess = OCI_INDEX if "manifests" in value else OCI_MANIFEST
    media_type = own or sent or guess
    if media_type not in MANIFESTS | INDEXES:
        raise ManifestError(f"manifest media type {media_type} is not supported")
    return media_type


def _descriptors(value: Any) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ManifestError("a list of descriptors is expected")
    return tuple(_descriptor(item) for item in value)


def _descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise ManifestError("a descriptor is not an object")
    digest, size, urls = value.get("digest"), value.get("size"), value.get("urls") or ()
    if not isinstance(digest, str) or not is_digest(digest):
        raise ManifestError(f"a descriptor's digest is not valid: {digest!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestError(f"a descriptor's size is not valid: {size!r}")
    if not isinstance(urls, (list, tuple)) or not all(isinstance(url, str) for url in urls):
        raise ManifestError("a descriptor's urls are not a list of strings")
    return Descriptor(
        media_type=_text(value.get("mediaType")),
        digest=digest,
        size=size,
        artifact_type=_text(value.get("artifactType")),
        platform=_strings(value.get("platform"), strict=False),
        annotations=_strings(value.get("annotations")),
        urls=tuple(urls),
    )


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise ManifestError(f"a string is expected, not {value!r}")
    return value or ""


def _strings(value: Any, *, strict: bool = True) -> dict[str, str]:
    """A map of strings; not `strict` leaves out values of other types (a platform's `os.features`)."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestError(f"an object is expected, not {value!r}")
    if strict and not all(isinstance(item, str) for item in value.values()):
        raise ManifestError("annotations are strings")
    return {key: item for key, item in value.items() if isinstance(item, str)}
