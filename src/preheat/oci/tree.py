"""The file system of an image while it is built: a base that never changes, and what has been added to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

OVERLAY_OPAQUE = "trusted.overlay.opaque"
_LINKS_MAX = 40
"""As many links on one path as Linux follows."""


class TreeError(ValueError):
    """A path that cannot be what it is asked to be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (content in `source` or `data`), a directory, a link (with a `target`), or a fifo.

    `path` is relative to the root and "" for the root itself; `mode` the permission bits. A "hard link" has the path
    of an entry of the same layer as its `target`.
    """

    path: str
    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    source: Path | None = None
    data: bytes = b""
    target: str = ""
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    """Extended attributes that a layer keeps."""

    @property
    def size(self) -> int:
        return self.source.stat().st_size if self.source is not None else len(self.data)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, data=data)


def entry_of(path: str, source: Path, *, owners: bool = False) -> Entry:
    """What lies at `source`, to be put at `path`. Owned by root unless `owners`. Raises TreeError for a device."""
    status = source.lstat()
    mode, uid, gid = stat.S_IMODE(status.st_mode), status.st_uid if owners else 0, status.st_gid if owners else 0
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "link", 0o777, uid, gid, target=os.readlink(source))  # noqa: PTH115 (tidies)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "directory", mode, uid, gid)
    if stat.S_ISREG(status.st_mode):
        return Entry(path, "file", mode, uid, gid, source=source)
    raise TreeError(f"{source} is neither file, directory nor link")


class Tree:
    """`base` is an unpacked image or None. Paths begin with "/"; links are followed inside the image only."""

    def __init__(self, base: Path | None = None) -> None:
        self.base = base
        self.added: dict[str, Entry] = {}
        self._below: dict[str, set[str]] = {}
        self._gone: set[str] = set()
        """Paths of the base that can no longer be seen, nor what is below them."""
        self._owners = os.geteuid() == 0

    def copy(self) -> Tree:
        """Another that can be added to without changing this one."""
        other = Tree(self.base)
        other.added = dict(self.added)
        other._below = {path: set(names) for path, names in self._below.items()}
        other._gone = set(self._gone)
        return other

    def get(self, path: str) -> Entry | None:
        """What is at a path, no link followed."""
        key = path.strip("/")
        if key in self.added:
            return self.added[key]
        if self.base is None:
            return directory("") if not key else None
        if self._is_gone(key):
            return None
        try:
            return entry_of(key, self.base / key, owners=self._owners)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def resolve(self, path: str) -> str:
        """The path with every link on it followed, "/" at least; what is not there stays as written."""
        left, done, links = [part for part in path.split("/") if part not in ("", ".")][::-1], "", 0
        while left:
            part = left.pop()
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            entry = self.get(f"{done}/{part}")
            if entry is None or entry.kind != "link":
                done = f"{done}/{part}"
                continue
            links += 1
            if links > _LINKS_MAX:
                raise TreeError(f"too many links on {path}")
            if entry.target.startswith("/"):
                done = ""
            left += [name for name in entry.target.split("/") if name not in ("", ".")][::-1]
        return done or "/"

    def children(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        key = path.strip("/")
        names = set(self._below.get(key, ()))
        if self.base is not None and not self._is_gone(key) and (self.base / key).is_dir():
            there = {found.name for found in (self.base / key).iterdir()}
            names |= {name for name in there if not self._is_gone(f"{key}/{name}" if key else name)}
        return sorted(names)

    def walk(self, path: str) -> Iterator[Entry]:
        """Everything below a directory, parents first."""
        for name in self.children(path):
            entry = self.get(f"{path}/{name}")
            if entry is not None:
                yield entry
                if entry.kind == "directory":
                    yield from self.walk(f"/{entry.path}")

    def add(self, entry: Entry) -> list[Entry]:
        """Put an entry in its place; returns it with the directories above it, as a layer needs them.

        A directory that is there keeps its owner and permissions. Raises TreeError where a file is in the way.
        """
        parents: list[Entry] = []
        above = ""
        for name in entry.path.split("/")[:-1]:
            above = f"{above}/{name}" if above else name
            there = self.get(above)
            if there is not None and there.kind != "directory":
                raise TreeError(f"/{above} is not a directory")
            parents.append(there or directory(above))
        known = self.get(entry.path)
        if known is not None and "directory" in (known.kind, entry.kind) and known.kind != entry.kind:
            raise TreeError(f"/{entry.path} is a {known.kind}, and would become a {entry.kind}")
        if known is not None and entry.kind == "directory":
            entry = known
        for one in (*parents, entry):
            self._put(one)
        return [*parents, entry]

    def remove(self, path: str) -> None:
        """Take away what is at a path, and all below it. No harm where nothing is."""
        key = path.strip("/")
        inside = f"{key}/"
        for gone in [known for known in self.added if known == key or known.startswith(inside)]:
            del self.added[gone]
            self._below.pop(gone, None)
        above, _, name = key.rpartition("/")
        self._below.get(above, set()).discard(name)
        if self.base is not None:
            self._gone.add(key)

    def apply(self, layer: Path, path: str = "") -> None:
        """Lay an unpacked layer, white-outs as overlayfs has them, over what is there; it must stay where it is."""
        for name in sorted(found.name for found in (layer / path).iterdir()):
            key = f"{path}/{name}" if path else name
            status = (layer / key).lstat()
            if is_whiteout(status):
                self.remove(key)
                continue
            known = self.get(key)
            is_directory = stat.S_ISDIR(status.st_mode)
            if known is not None and (is_directory != (known.kind == "directory") or is_opaque(layer / key, status)):
                self.remove(key)
            if is_directory or stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                self._put(entry_of(key, layer / key, owners=self._owners))
            if is_directory:
                self.apply(layer, key)

    def _put(self, entry: Entry) -> None:
        self.added[entry.path] = entry
        if entry.path:
            above, _, name = entry.path.rpartition("/")
            self._below.setdefault(above, set()).add(name)

    def _is_gone(self, key: str) -> bool:
        while self._gone and key:
            if key in self._gone:
                return True
            key = key.rpartition("/")[0]
        return False

    def read(self, path: str) -> bytes | None:
        """A file's content, links followed; None where there is no file."""
        entry = self.get(self.resolve(path))
        if entry is None or entry.kind != "file":
            return None
        return entry.data if entry.source is None else entry.source.read_bytes()


def is_whiteout(status: os.stat_result) -> bool:
    """Overlayfs's mark for a name of the layers below that is not there any more (overlayfs.rst)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path, status: os.stat_result) -> bool:
    """Overlayfs's mark for a directory through which those of the layers below are not seen; only root can look."""
    if not stat.S_ISDIR(status.st_mode):
        return False
    try:
        return os.getxattr(path, OVERLAY_OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def placed(entry: Entry, path: str, *, mode: int | None = None, owner: tuple[int, int] | None = None) -> Entry:
    """The entry at another path, perhaps with other permissions and owners."""
    uid, gid = owner or (entry.uid, entry.gid)
    kept = entry.mode if mode is None or entry.kind == "link" else mode
    return replace(entry, path=path.strip("/"), mode=kept, uid=uid, gid=gid)
