"""Layers for tests, honest and malicious, written entry by entry."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from backports import zstd


@dataclass
class Made:
    """One tar entry; `kind` is one of tarfile's types."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    link: str = ""
    uid: int = 0
    gid: int = 0
    pax: dict[str, str] | None = None
    mtime: float = 1_000_000_000


def folder(name: str, mode: int = 0o755) -> Made:
    return Made(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Made:
    return Made(name, kind=tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> Made:
    return Made(name, kind=tarfile.LNKTYPE, link=target)


def device(name: str) -> Made:
    return Made(name, kind=tarfile.CHRTYPE)


def tar(*entries: Made) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.mode, info.linkname, info.mtime = entry.kind, entry.mode, entry.link, entry.mtime
            info.uid, info.gid, info.size = entry.uid, entry.gid, len(entry.content)
            info.pax_headers = entry.pax or {}
            archive.addfile(info, io.BytesIO(entry.content))
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zstd_compressed(data: bytes) -> bytes:
    return bytes(zstd.compress(data))


def listing(root: Path) -> dict[str, str]:
    """Every path below a directory with its content, "->target" of a link or "dir"."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"->{path.readlink()}"
        elif path.is_dir():
            found[name] = "dir"
        elif path.is_file():
            found[name] = path.read_text("utf-8", "replace")
        else:
            found[name] = "special"
    return found
