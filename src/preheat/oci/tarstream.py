"""Reading a layer's tar forwards only, in bounded memory, whatever its author had in mind."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

_HEADER_BYTES = 1 << 20
"""The longest extended header (a long name, a pax record) that is read into memory; Linux paths end at 4,096."""
_GZIP, _ZSTD, _ZSTD_SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_WINDOW_LOG_MAX = 27
"""zstd may ask for a window of 2 GB; 128 MiB is what the zstd program itself accepts without being told to."""


class LayerRefused(ValueError):
    """A layer that is broken, too large or tries to reach outside its root."""


class LayerStream:
    """The uncompressed bytes of a layer, counted and hashed: just enough of a file for tarfile.

    `digest` is the diff id once everything was read. Raises LayerRefused past `limit_bytes`.
    """

    def __init__(self, raw: IO[bytes], limit_bytes: int) -> None:
        self._source = decompressed(raw)
        self._limit_bytes = limit_bytes
        self._position = 0
        self._hash = hashlib.sha256()
        self.header_reads = True
        """While true a read of more than 1 MiB is refused: tarfile asks for whole extended headers at once."""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise LayerRefused("not a plain tar archive")
        while self._position < position:
            if not self._read(min(position - self._position, _HEADER_BYTES)):
                break
        return self._position

    def read(self, size: int) -> bytes:
        if self.header_reads and size > _HEADER_BYTES:
            raise LayerRefused("an extended header is larger than 1 MiB")
        return self._read(size)

    def finish(self) -> str:
        """Read what follows the archive and return the digest of everything."""
        while self._read(_HEADER_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._source.read(size)
        except (EOFError, OSError, zlib.error, _zstd_error()) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise LayerRefused(f"the compressed data is broken: {error}") from None
        self._position += len(data)
        if self._position > self._limit_bytes:
            raise LayerRefused(f"unpacks to more than {self._limit_bytes} bytes")
        self._hash.update(data)
        return data


def decompressed(raw: IO[bytes]) -> Any:
    """The uncompressed bytes of a file that is gzip, zstd or neither, told by its first bytes."""
    magic = raw.read(4)
    raw.seek(0)
    if magic.startswith(_GZIP):
        import gzip

        return gzip.GzipFile(fileobj=raw, mode="rb")
    if magic == _ZSTD or magic[1:] == _ZSTD_SKIPPABLE:
        from backports import zstd

        return zstd.ZstdFile(raw, "rb", options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
    return raw


def members(stream: LayerStream) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
    """Each entry with its content in pieces. Raises LayerRefused for what is no tar archive."""
    try:
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members = []  # tarfile would remember every entry
                yield member, _content(archive, member, stream)
    except tarfile.TarError as error:
        raise LayerRefused(f"not a tar archive: {error}") from None
    except (ValueError, OverflowError, EOFError, RecursionError) as error:
        if isinstance(error, LayerRefused):
            raise
        raise LayerRefused(f"a header of the archive is broken: {error}") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, stream: LayerStream) -> Iterator[bytes]:
    source = archive.extractfile(member) if member.isreg() else None
    if source is None:
        return
    left = member.size
    stream.header_reads = False
    try:
        while left > 0:
            piece = source.read(min(left, _HEADER_BYTES))
            if not piece:
                raise LayerRefused(f"the archive ends within {member.name!r}")
            left -= len(piece)
            yield piece
    finally:
        stream.header_reads = True


def _zstd_error() -> type[Exception]:
    from backports import zstd

    error: type[Exception] = zstd.ZstdError
    return error
