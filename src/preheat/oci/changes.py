"""What a command has changed, from an overlay's upper directory to a layer (image-spec, layer.md)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from preheat.oci.pack import TIME_S
from preheat.oci.tree import Entry, entry_of, file, is_opaque, is_whiteout
from preheat.oci.unpack import KEPT_XATTRS, OPAQUE, WHITEOUT

_PYC_HEADER_BYTES = 16
"""Of CPython's bytecode files: magic, flags, time and size of the source (PEP 552)."""


def settle(upper: Path) -> None:
    """Give every file the time that it will have in the layer, and bytecode that time of its source; then what is
    seen in `upper` is what unpacking the layer gives."""
    found = list(_walk(upper, ""))
    for path, status in found:
        if path.endswith(".pyc") and stat.S_ISREG(status.st_mode):
            _restamp(upper / path)
    for path, status in reversed(found):
        if not is_whiteout(status):
            os.utime(upper / path, (TIME_S, TIME_S), follow_symlinks=False)
    os.utime(upper, (TIME_S, TIME_S))


def changes(upper: Path) -> Iterator[Entry]:
    """The entries of the layer. Sockets are left out, as Docker does; device nodes, which no image that is unpacked
    here may have, are refused with a TreeError."""
    first: dict[tuple[int, int], str] = {}
    for path, status in sorted(_walk(upper, "")):
        if stat.S_ISSOCK(status.st_mode):
            continue
        if is_whiteout(status):
            folder, _, name = path.rpartition("/")
            yield file(f"{folder}/{WHITEOUT}{name}" if folder else f"{WHITEOUT}{name}", b"")
            continue
        mode, uid, gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        if stat.S_ISFIFO(status.st_mode):
            yield Entry(path, "fifo", mode, uid, gid)
            continue
        entry = entry_of(path, upper / path, owners=True)
        if entry.kind == "file":
            known = first.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
            if known != path:
                yield Entry(path, "hard link", mode, uid, gid, target=known)
                continue
        if is_opaque(upper / path, status):
            yield file(f"{path}/{OPAQUE}", b"")
        yield replace(entry, attributes=_attributes(upper / path) if entry.kind != "link" else {})


def _walk(upper: Path, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Paths below a directory, parents first."""
    with os.scandir(upper / folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        yield path, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(upper, path)


def _attributes(path: Path) -> dict[str, bytes]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith(KEPT_XATTRS)]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _restamp(path: Path) -> None:
    """Python takes bytecode for stale whose source has another time than it says; the layer changes the source's."""
    if path.parent.name != "__pycache__":
        return
    source = path.parent.parent / f"{path.name.split('.')[0]}.py"
    with path.open("r+b") as file_:
        header = file_.read(_PYC_HEADER_BYTES)
        if len(header) < _PYC_HEADER_BYTES or header[4:8] != bytes(4):
            return  # checked by a hash, or not at all
        try:
            status = source.lstat()
        except OSError:
            return  # its source is of another layer, whose time has not changed
        if header[8:12] == (int(status.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little"):
            file_.seek(8)
            file_.write(TIME_S.to_bytes(4, "little"))
