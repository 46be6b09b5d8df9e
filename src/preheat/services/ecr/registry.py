"""The registry behind both of its faces: ECR's API and the distribution API. Raises ECR's errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preheat.kernel.errors import AwsError
from preheat.oci.blobs import BlobStore
from preheat.oci.digest import digest_of, is_digest
from preheat.oci.manifest import Manifest, ManifestError, parse_manifest
from preheat.services.ecr.failures import Failures, digest_differs, invalid, tag_is_immutable
from preheat.services.ecr.models import Image, ImageId, Repository, is_tag
from preheat.services.ecr.store import EcrStore

GRACE_S = 3600.0
"""What a push has brought and no image has used yet is kept for so long: the push may still be under way."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection has removed."""

    files: int
    freed_bytes: int


class Registry:
    """Repositories, images, blobs and how they hang together. Not for use from several threads."""

    def __init__(self, data_dir: Path, account_id: str, clock: Callable[[], float] = time.time) -> None:
        self.store = EcrStore(data_dir / "ecr.db")
        self.blobs = BlobStore(data_dir / "blobs", data_dir / "uploads")
        self.failures = Failures(account_id)
        self.clock = clock

    def close(self) -> None:
        self.store.close()

    # repositories

    def repository(self, name: str) -> Repository:
        """Raises RepositoryNotFoundException."""
        repository = self.store.repository(name)
        if repository is None:
            raise self.failures.no_repository(name)
        return repository

    def delete_repository(self, name: str, *, force: bool) -> Repository:
        """Raises RepositoryNotEmptyException unless forced."""
        repository = self.repository(name)
        if not force and self.store.images(name, count=1):
            raise self.failures.repository_not_empty(name)
        self.store.delete_repository(name)
        self.release()
        return repository

    # images

    def find(self, repository: str, image_id: ImageId) -> Image:
        """By digest, by tag, or by both where they agree. Raises ImageNotFoundException."""
        tag, digest = image_id.get("imageTag"), image_id.get("imageDigest")
        tagged = self.store.tagged(repository, tag) if tag else None
        wanted = digest or tagged
        image = self.store.image(repository, wanted) if wanted else None
        if image is None or (tag and tagged != image.digest):
            raise self.failures.no_image(repository, image_id)
        return image

    def body(self, image: Image) -> bytes:
        """The manifest as it was pushed, byte for byte."""
        kept = self.store.manifest(image.digest)
        if kept is None:
            raise self.failures.no_image(image.repository, {"imageDigest": image.digest})
        return kept[1]

    def put(self, name: str, body: bytes, *, media_type: str = "", tag: str | None = None) -> tuple[Image, Manifest]:
        """Add an image whose blobs, or whose images, are all there, and set its tag.

        Raises InvalidParameterException, LayersNotFoundException, ReferencedImagesNotFoundException,
        ImageTagAlreadyExistsException.
        """
        repository, manifest, digest = self.repository(name), _parsed(body, media_type), digest_of(body)
        if tag is not None:
            if not is_tag(tag):
                raise invalid(f"'imageTag' failed to satisfy constraint: '{tag}' is not a valid tag")
            if repository.immutable(tag) and self.store.tagged(name, tag) is not None:
                raise tag_is_immutable(name, tag)
        self._check_complete(name, manifest)
        image = Image(
            repository=name,
            digest=digest,
            media_type=manifest.media_type,
            artifact_type=manifest.artifact_type,
            size_bytes=self._size(name, manifest),
            pushed_s=self.clock(),
            pulled_s=None,
            subject=manifest.subject.digest if manifest.subject else None,
            tags=(tag,) if tag else (),
        )
        self.store.put_image(image, manifest, body, tag)
        return image, manifest

    def put_new(self, name: str, body: bytes, *, media_type: str, tag: str | None, digest: str | None) -> Image:
        """As `put`, for the API, which refuses what changes nothing: ImageAlreadyExistsException,
        ImageDigestDoesNotMatchException."""
        computed = digest_of(body)
        if digest is not None and digest != computed:
            raise digest_differs(digest, computed)
        self.repository(name)
        known = self.store.image(name, computed)
        if known is not None and (tag is None or tag in known.tags):
            raise self.failures.image_exists(name, computed, tag)
        return self.put(name, body, media_type=media_type, tag=tag)[0]

    def delete(self, image: Image, tag: str | None = None) -> None:
        """The image with all its tags; with `tag` that one, and the image with its last one."""
        if tag and len(image.tags) > 1:
            self.store.delete_tag(image.repository, tag)
        else:
            self.store.delete_image(image.repository, image.digest)
        self.release()

    def _size(self, name: str, manifest: Manifest) -> int:
        """In bytes; of an index the size of its largest image (ECR API Reference, ImageDetail)."""
        if not manifest.is_index:
            return sum(blob.size for blob in manifest.blobs())
        images = (self.store.image(name, child.digest) for child in manifest.manifests)
        return max((image.size_bytes for image in images if image is not None), default=0)

    def _check_complete(self, name: str, manifest: Manifest) -> None:
        missing = [blob.digest for blob in manifest.blobs() if self.blob_size(name, blob.digest) != blob.size]
        if missing:
            raise self.failures.layers_missing(name, missing)
        absent = [child.digest for child in manifest.manifests if self.store.image(name, child.digest) is None]
        if absent:
            raise self.failures.images_missing(name, absent)

    # blobs

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a blob that the repository has; None where it has not."""
        if not is_digest(digest) or not self.store.linked(repository, digest):
            return None
        return self.blobs.size(digest)

    def rely_on(self, repository: str, digest: str) -> None:
        """A push was told that the blob is there: spare it until its manifest comes."""
        self.store.link(repository, digest, self.clock())

    def mount(self, source: str, target: str, digest: str) -> bool:
        """Give a repository a blob of another; False where that one has no such blob."""
        if self.blob_size(source, digest) is None:
            return False
        self.rely_on(target, digest)
        return True

    # collection

    def release(self) -> Collected:
        """Remove at once what the last deletion has left without a user."""
        before = self.store.needed()
        self.store.release(self.clock() - GRACE_S)
        gone = before - self.store.needed()
        return Collected(len(gone), sum(self.blobs.delete(digest) for digest in gone))

    def collect(self, grace_s: float = GRACE_S) -> Collected:
        """Remove everything that nobody needs and nobody has touched for `grace_s`, uploads given up among it."""
        older_than_s = self.clock() - grace_s
        self.store.release(older_than_s)
        return Collected(*self.blobs.collect(self.store.needed(), older_than_s))


def _parsed(body: bytes, media_type: str) -> Manifest:
    try:
        return parse_manifest(body, media_type)
    except ManifestError as error:
        raise AwsError(
            "InvalidParameterException", f"Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{error}'"
        ) from None
