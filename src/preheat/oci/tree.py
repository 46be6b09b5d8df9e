"""The file system of an image while it is built: a base that never changes, and what has been added to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_LINKS_MAX = 40
"""As many links on one path as Linux follows."""


class TreeError(ValueError):
    """A path that cannot be what it is asked to be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (content in `source` or `data`), a directory, or a link (with a `target`).

    `path` is relative to the root and "" for the root itself; `mode` the permission bits.
    """

    path: str
    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    source: Path | None = None
    data: bytes = b""
    target: str = ""

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
        self._owners = os.geteuid() == 0

    def copy(self) -> Tree:
        """Another that can be added to without changing this one."""
        other = Tree(self.base)
        other.added = dict(self.added)
        other._below = {path: set(names) for path, names in self._below.items()}
        return other

    def get(self, path: str) -> Entry | None:
        """What is at a path, no link followed."""
        key = path.strip("/")
        if key in self.added:
            return self.added[key]
        if self.base is None:
            return directory("") if not key else None
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
        if self.base is not None and (self.base / key).is_dir():
            names.update(found.name for found in (self.base / key).iterdir())
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
            self.added[one.path] = one
            if one.path:
                above, _, name = one.path.rpartition("/")
                self._below.setdefault(above, set()).add(name)
        return [*parents, entry]

    def read(self, path: str) -> bytes | None:
        """A file's content, links followed; None where there is no file."""
        entry = self.get(self.resolve(path))
        if entry is None or entry.kind != "file":
            return None
        return entry.data if entry.source is None else entry.source.read_bytes()


def placed(entry: Entry, path: str, *, mode: int | None = None, owner: tuple[int, int] | None = None) -> Entry:
    """The entry at another path, perhaps with other permissions and owners."""
    uid, gid = owner or (entry.uid, entry.gid)
    kept = entry.mode if mode is None or entry.kind == "link" else mode
    return replace(entry, path=path.strip("/"), mode=kept, uid=uid, gid=gid)
