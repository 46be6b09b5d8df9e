"""Unpacking one layer into a directory that nothing in the layer can leave.

Every path is walked from the root's own descriptor without following links, so what an earlier entry made
cannot lead a later one astray (openat(2), O_NOFOLLOW). White-outs: image-spec, layer.md. The result is what
Docker's overlay2 shows: a directory of this layer hides a link or file of that name in the layers below.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from preheat.oci.tarstream import LayerRefused, LayerStream, members
from preheat.oci.tree import OVERLAY_OPAQUE

WHITEOUT, OPAQUE, _AUFS = ".wh.", ".wh..wh..opq", ".wh..wh."
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_BYTES = 4096
XATTR = "SCHILY.xattr."
"""Before the name of an extended attribute among an entry's pax records (as GNU tar, Docker and umoci write them)."""
KEPT_XATTRS = ("user.", "security.capability")
"""Never trusted.overlay.*: a redirect in there would lead the kernel out of the layer."""
_LATEST_S = 1 << 33


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """`total_bytes`: a Lambda image may be 10 GB uncompressed (Lambda quotas)."""

    total_bytes: int = 10 * 2**30
    entries: int = 2_000_000


def unpack(layer: IO[bytes], root: Path, *, flat: bool, limits: UnpackLimits | None = None) -> str:
    """Unpack a layer (tar, gzip or zstd) into `root`, an existing directory; returns its diff id.

    `flat`: apply it on top of what is there and carry white-outs out. Else `root` is this layer alone and
    white-outs become overlayfs's (a 0:0 device, an "opaque" attribute), the latter set by root alone. Owners are kept
    where this is root. Raises LayerRefused, and OSError of the disk itself; either leaves a part in `root`.
    """
    bounds = limits or UnpackLimits()
    stream = LayerStream(layer, bounds.total_bytes)
    with _Unpacker(root, flat=flat) as unpacker:
        written = 0
        for count, (member, content) in enumerate(members(stream), 1):
            if count > bounds.entries:
                raise LayerRefused(f"has more than {bounds.entries} entries")
            for piece in unpacker.entry(member, content):
                written += piece
                if written > bounds.total_bytes:
                    raise LayerRefused(f"unpacks to more than {bounds.total_bytes} bytes")
        unpacker.finish()
    return stream.finish()


class _Unpacker:
    def __init__(self, root: Path, *, flat: bool) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._flat = flat
        self._is_root = os.geteuid() == 0
        self._made: set[str] = set()
        """Paths this layer has, its white-outs not among them."""
        self._hidden: set[str] = set()
        """Paths that a white-out of this layer has named."""
        self._directories: dict[str, tarfile.TarInfo] = {}
        self._parent: tuple[str, int] | None = None

    def __enter__(self) -> _Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_parent()
        os.close(self._root)

    def entry(self, member: tarfile.TarInfo, content: Iterator[bytes]) -> Iterator[int]:
        """Make one entry; yields the sizes of the pieces as they are written."""
        path = clean_path(member.name, "path")
        if not path:
            self._directories[""] = member
            return
        folder, _, name = path.rpartition("/")
        with _told(member.name):
            parent = self._open_parent(folder)
            if name.startswith(WHITEOUT):
                self._whiteout(parent, folder, name)
                return
            if member.isdir():
                self._directory(parent, name, path)
                self._directories[path] = member
                return
            if not (member.isreg() or member.issym() or member.islnk() or member.isfifo()):
                raise LayerRefused("device nodes and other special files are not taken from an image")
            self._clear(parent, name, path)
            self._made.add(path)
            if member.isreg():
                yield from self._file(parent, name, member, content)
            elif member.islnk():
                self._hard_link(parent, name, member.linkname)
            else:
                if member.issym():
                    os.symlink(member.linkname, name, dir_fd=parent)
                else:
                    os.mkfifo(name, member.mode & 0o777, dir_fd=parent)
                self._own(parent, name, member)

    def finish(self) -> None:
        """Directories last: making files in them would change their times, and might not be allowed."""
        for path in sorted(self._directories, reverse=True):
            member = self._directories[path]
            with _told(member.name):
                fd = self._open(path)
                try:
                    self._metadata(fd, member, 0o700 if not self._is_root else 0)
                finally:
                    os.close(fd)

    # entries

    def _file(self, parent: int, name: str, member: tarfile.TarInfo, content: Iterator[bytes]) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb", buffering=0) as file:
            for piece in content:
                file.write(piece)
                yield len(piece)
            self._metadata(file.fileno(), member, 0)

    def _hard_link(self, parent: int, name: str, linkname: str) -> None:
        folder, _, target = clean_path(linkname.lstrip("/"), "hard link").rpartition("/")
        try:
            fd = self._open(folder)
        except OSError:
            raise LayerRefused(f"hard link to {linkname!r}, which the layer does not have") from None
        try:
            mode = os.lstat(target, dir_fd=fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)):
                raise LayerRefused(f"hard link to {linkname!r}, which is no file")
            os.link(target, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise LayerRefused(f"hard link to {linkname!r}, which the layer does not have") from None
        finally:
            os.close(fd)

    def _directory(self, parent: int, name: str, path: str) -> None:
        mode = _mode(parent, name)
        if mode is None or not stat.S_ISDIR(mode):
            if mode is not None:
                self._clear(parent, name, path)
            os.mkdir(name, 0o700, dir_fd=parent)
            if path in self._hidden and not self._flat:
                self._make_opaque(parent, name)
        self._made.add(path)

    def _whiteout(self, parent: int, folder: str, name: str) -> None:
        if name == OPAQUE:
            if self._flat:
                self._hide_below(parent, folder)
            else:
                os.setxattr(parent, OVERLAY_OPAQUE, b"y")
            return
        if name.startswith(_AUFS):
            return  # bookkeeping of aufs, which is no part of the image
        target = name.removeprefix(WHITEOUT)
        if target in ("", ".", ".."):
            raise LayerRefused("a white-out that names no file")
        path = f"{folder}/{target}" if folder else target
        self._hidden.add(path)
        mode = _mode(parent, target)
        if path in self._made:
            # It hides what lies below, not what this very layer brings (layer.md, "Whiteouts").
            if mode is not None and stat.S_ISDIR(mode):
                self._opaque_directory(parent, target, path)
        elif self._flat:
            self._clear(parent, target, path)
        elif mode is None:
            os.mknod(target, 0o600 | stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def _opaque_directory(self, parent: int, name: str, path: str) -> None:
        if not self._flat:
            self._make_opaque(parent, name)
            return
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            self._hide_below(fd, path)
        finally:
            os.close(fd)

    def _make_opaque(self, parent: int, name: str) -> None:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            os.setxattr(fd, OVERLAY_OPAQUE, b"y")
        finally:
            os.close(fd)

    def _hide_below(self, fd: int, folder: str) -> None:
        """Remove what the layers below put into a directory."""
        for name in os.listdir(fd):
            path = f"{folder}/{name}" if folder else name
            if path not in self._made:
                self._clear(fd, name, path)
            elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                self._opaque_directory(fd, name, path)

    # paths

    def _open_parent(self, folder: str) -> int:
        """The directory an entry goes to, made where the layer does not name it; kept open for the next entry."""
        if self._parent is None or self._parent[0] != folder:
            self._forget_parent()
            self._parent = (folder, self._walk(folder))
        return self._parent[1]

    def _walk(self, folder: str) -> int:
        fd, done = os.dup(self._root), ""
        for name in folder.split("/") if folder else ():
            done = f"{done}/{name}" if done else name
            try:
                below = self._enter(fd, name, done)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _enter(self, fd: int, name: str, path: str) -> int:
        try:
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            if path in self._made:
                raise LayerRefused(
                    f"{path!r} is a link or a file of the same layer: nothing can lie below it"
                ) from None
            self._directory(fd, name, path)
            below = os.open(name, _DIRECTORY, dir_fd=fd)
            os.fchmod(below, 0o755)
        self._made.add(path)
        return below

    def _open(self, path: str) -> int:
        """A directory that is there, no link on the way to it. Raises OSError."""
        fd = os.dup(self._root)
        for name in path.split("/") if path else ():
            try:
                below = os.open(name, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _clear(self, parent: int, name: str, path: str) -> None:
        """Remove what stands where an entry goes."""
        mode = _mode(parent, name)
        if mode is None:
            return
        if stat.S_ISDIR(mode):
            shutil.rmtree(name, dir_fd=parent)  # never follows links where it has a descriptor to work from
            inside = f"{path}/"
            self._made = {made for made in self._made if not made.startswith(inside)}
            for gone in [known for known in self._directories if known == path or known.startswith(inside)]:
                del self._directories[gone]
        else:
            os.unlink(name, dir_fd=parent)
        self._made.discard(path)

    def _forget_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    # metadata

    def _own(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if self._is_root:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        time_ns = _time_ns(member)
        os.utime(name, ns=(time_ns, time_ns), dir_fd=parent, follow_symlinks=False)

    def _metadata(self, fd: int, member: tarfile.TarInfo, add_mode: int) -> None:
        if self._is_root:
            os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, (member.mode & 0o7777) | add_mode)  # after chown, which takes the set-user-id bit away
        for key, value in member.pax_headers.items():
            name = key.removeprefix(XATTR)
            if name != key and name.startswith(KEPT_XATTRS):
                with suppress(OSError):  # a file system without them, or no right to set them
                    os.setxattr(fd, name, value.encode("utf-8", "surrogateescape"))
        time_ns = _time_ns(member)
        os.utime(fd, ns=(time_ns, time_ns))


def clean_path(name: str, what: str) -> str:
    """A path relative to the root, "" for the root itself. Raises LayerRefused for one that leads elsewhere."""
    if name.startswith("/"):
        raise LayerRefused(f"{what} {name!r} is absolute")
    if "\0" in name or len(os.fsencode(name)) > _PATH_BYTES:
        raise LayerRefused(f"{what} of {len(name)} characters is not one Linux knows")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise LayerRefused(f"{what} {name!r} leads out of the root")
    return "/".join(parts)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Say which entry was refused; what the kernel refuses about a name or a number is the layer's fault too."""
    try:
        yield
    except LayerRefused as error:
        raise LayerRefused(f"{name!r}: {error}") from None
    except (OverflowError, ValueError) as error:
        raise LayerRefused(f"{name!r}: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EILSEQ):
            raise LayerRefused(f"{name!r}: {error.strerror}") from None
        raise


def _mode(parent: int, name: str) -> int | None:
    try:
        return os.lstat(name, dir_fd=parent).st_mode
    except FileNotFoundError:
        return None


def _time_ns(member: tarfile.TarInfo) -> int:
    return int(min(max(member.mtime, 0), _LATEST_S) * 1e9)
