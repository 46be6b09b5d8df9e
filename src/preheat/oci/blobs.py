"""Content-addressed files. A blob is there whole and verified, or not at all.

Layout as in an OCI image layout: `<root>/sha256/<hex>`. What is being written lies in another directory of
the same file system and is renamed into place after fsync, so `kill -9` or a power cut leaves no half blob.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from preheat.oci.digest import digest_of, hex_of, is_digest

_CHUNK = 1 << 20


class DigestMismatch(ValueError):
    """The content is not what its digest says."""


class Mark(NamedTuple):
    """How far a blob was written, and the hash of that much."""

    size: int
    hash: hashlib._Hash


class BlobWriter:
    """One blob being written; its digest is computed on the way. Make one with `BlobStore.writer`."""

    def __init__(self, store: BlobStore, path: Path) -> None:
        """Opens `path`; what it already holds (an upload of an earlier process) is hashed and continued."""
        self._store = store
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = path.open("ab+", buffering=0)
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._hash.update(chunk)
            self.size += len(chunk)

    @property
    def digest(self) -> str:
        """Of everything written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises OSError (a full disk) with the size as it was after the last whole write."""
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self._hash.update(view[:written])
            self.size += written
            view = view[written:]

    def mark(self) -> Mark:
        """A point to come back to."""
        return Mark(self.size, self._hash.copy())

    def back_to(self, mark: Mark) -> None:
        """Take back what was written after it."""
        self.size, self._hash = mark.size, mark.hash.copy()
        self._file.truncate(self.size)

    def commit(self, expected: str | None = None) -> str:
        """Make it a blob and return its digest; raises DigestMismatch, and then keeps nothing."""
        digest = self.digest
        if expected is not None and digest != expected:
            self.abort()
            raise DigestMismatch(f"content is {digest}, not {expected}")
        target = self._store.path(digest)
        os.fsync(self._file.fileno())
        self._file.close()
        self.path.chmod(0o644)
        self.path.replace(target)
        _sync_directory(target.parent)
        return digest

    def close(self) -> None:
        """Keep what is written for a later writer of the same path."""
        self._file.close()

    def abort(self) -> None:
        """Remove it. No harm after `commit`."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """Blobs under `root`, those being written under `work_dir` (of the same file system)."""

    def __init__(self, root: Path, work_dir: Path) -> None:
        self._directory = root / "sha256"
        self.work_dir = work_dir
        self._directory.mkdir(parents=True, exist_ok=True)
        work_dir.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises ValueError for what is no digest."""
        return self._directory / hex_of(digest)

    def size(self, digest: str) -> int | None:
        """Bytes; None where there is no such blob."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: str) -> bytes:
        """The whole of a small blob. Raises FileNotFoundError."""
        return self.path(digest).read_bytes()

    def writer(self, name: str | None = None) -> BlobWriter:
        """A new blob; with `name`, the one left unfinished under that name where there is one."""
        return BlobWriter(self, self.work_dir / (name or f"blob-{uuid.uuid4().hex}"))

    def put(self, data: bytes) -> str:
        """Store a small blob; returns its digest."""
        digest = digest_of(data)
        if self.size(digest) is None:
            writer = self.writer()
            writer.write(data)
            writer.commit(digest)
        return digest

    def touch(self, digest: str) -> None:
        """Note that somebody just relied on the blob: collectors spare young ones."""
        os.utime(self.path(digest))

    def delete(self, digest: str) -> int:
        """Bytes freed; 0 where there was no such blob. Whoever has it open reads on."""
        size = self.size(digest)
        self.path(digest).unlink(missing_ok=True)
        return size or 0

    def digests(self) -> Iterator[str]:
        for path in self._directory.iterdir():
            if is_digest(f"sha256:{path.name}"):
                yield f"sha256:{path.name}"

    def collect(self, keep: set[str], older_than_s: float) -> tuple[int, int]:
        """Delete blobs that nothing names and unfinished ones, last touched before `older_than_s` (epoch seconds).

        Returns how many went and their bytes.
        """
        count = freed = 0
        doomed = [self.path(digest) for digest in self.digests() if digest not in keep]
        for path in [*doomed, *self.work_dir.iterdir()]:
            with suppress(FileNotFoundError):
                status = path.stat()
                if status.st_mtime < older_than_s:
                    path.unlink()
                    count, freed = count + 1, freed + status.st_size
        return count, freed


def _sync_directory(path: Path) -> None:
    """Make a rename durable (fsync(2): the directory entry needs an fsync of its own)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
