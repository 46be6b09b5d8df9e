"""Code packages as trees of files: unpacked from a zip, copied from a directory, digested, zipped again.

Everything here blocks and belongs in a thread. Nothing is ever written outside the target directory.
"""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from preheat.kernel.errors import AwsError
from preheat.services.lambda_.failures import invalid, too_large

MAX_ZIPPED_BYTES = 52_428_800
MAX_UNZIPPED_BYTES = 262_144_000
"""Lambda's quotas for a zip uploaded directly and for what it unpacks to."""

_BYTECODE = "__pycache__"
_CHUNK_BYTES = 1 << 20
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date a zip can hold: the same tree always gives the same zip."""

_EMPTY = "Uploaded file must be a non-empty zip"
_NO_ZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, UnicodeError)
"""What zipfile raises for damaged, encrypted and exotic archives."""
_BAD_NAME = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
"""An entry's name that cannot be a file beside the others."""


class _Budget:
    """Counts unpacked bytes as they are written, so that a header that lies about its size gains nothing."""

    def __init__(self) -> None:
        self.bytes = 0

    def spend(self, relative: str, count: int) -> None:
        if _BYTECODE in relative.split("/"):
            return
        self.bytes += count
        if self.bytes >= MAX_UNZIPPED_BYTES:
            raise invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")


def unzip(data: bytes, target: Path) -> None:
    """Unpack a zip into `target`, which must exist and be empty.

    Raises AwsError in AWS's words for what is no zip or too large, and for entries that would leave the
    root: absolute names, `..`, links pointing outside, devices. Files come first and links last, so that
    nothing is ever written through a link.
    """
    if not data:
        raise invalid(_EMPTY)
    if len(data) > MAX_ZIPPED_BYTES:
        raise too_large(f"Zipped size must be smaller than {MAX_ZIPPED_BYTES} bytes")
    budget = _Budget()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if not archive.infolist():
                raise invalid(_EMPTY)
            links = []
            for entry in archive.infolist():
                if _kind(entry) == stat.S_IFLNK:
                    links.append(entry)
                else:
                    _extract(archive, entry, target, budget)
            for entry in links:
                _link(target / _inside(entry.filename), archive.read(entry).decode(), target)
    except _DAMAGE as error:
        raise invalid(_NO_ZIP) from error
    except OSError as error:
        if error.errno in _BAD_NAME:
            raise invalid(_NO_ZIP) from error
        raise
    _check_links(target)


def _kind(entry: zipfile.ZipInfo) -> int:
    """The file type bits that Unix zips carry; 0 where they carry none."""
    return stat.S_IFMT(entry.external_attr >> 16)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise invalid(f"Could not unzip uploaded file: the entry {name!r} would leave the package.")
    return path


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, budget: _Budget) -> None:
    relative = _inside(entry.filename)
    path = target / relative
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    if _kind(entry) not in (0, stat.S_IFREG):
        raise invalid(f"Could not unzip uploaded file: the entry {entry.filename!r} is not a regular file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("wb") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            budget.spend(str(relative), len(chunk))
            sink.write(chunk)
    path.chmod(0o755 if (entry.external_attr >> 16) & 0o111 else 0o644)


def _link(path: Path, points_to: str, root: Path) -> None:
    if PurePosixPath(points_to).is_absolute() or not _stays_inside(path.parent, root):
        raise _escapes(path, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(points_to)


def _check_links(root: Path) -> None:
    """Refuse the tree if any link in it, followed to its end, leaves it."""
    for path in _entries(root):
        if path.is_symlink() and not _stays_inside(path, root):
            raise _escapes(path, root)


def _stays_inside(path: Path, root: Path) -> bool:
    """Whether a path, all links followed, is `root` or below it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _escapes(path: Path, root: Path) -> AwsError:
    return invalid(f"The link {str(path.relative_to(root))!r} points outside the package.")


def _entries(root: Path, leave_out: Path | None = None) -> Iterator[Path]:
    """Every path below `root`, links not followed, in order of name; `leave_out` and below are skipped."""
    with os.scandir(root) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if path == leave_out:
            continue
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(path, leave_out)


def copy_tree(source: Path, target: Path, leave_out: Path) -> None:
    """Copy a directory into `target` (which must exist and be empty), modification times kept.

    Links that stay inside are copied as links; a link to a file outside is replaced by that file's
    content, as `zip -r` does. `leave_out` (the server's own data) is never copied. Raises AwsError if
    `source` is no directory, is too large, or holds what cannot be packaged.
    """
    if not source.is_absolute() or not source.is_dir():
        raise invalid(f"S3Key must name an absolute directory when S3Bucket is hot-reload, not {str(source)!r}")
    root = Path(os.path.realpath(source))
    budget = _Budget()
    for path in list(_entries(root, Path(os.path.realpath(leave_out)))):
        relative = path.relative_to(root)
        copy = target / relative
        if path.is_symlink() and _stays_inside(path, root):
            copy.symlink_to(os.path.relpath(os.path.realpath(path), path.parent))
        elif path.is_dir() and not path.is_symlink():
            copy.mkdir()
        elif path.is_file():
            budget.spend(relative.as_posix(), path.stat().st_size)
            _copy_file(path, copy)
        else:
            raise invalid(f"{str(relative)!r} is neither a file nor a directory of the package")


def _copy_file(source: Path, target: Path) -> None:
    """Copy content (sharing blocks where the file system can), permission bits and times."""
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
        except (AttributeError, OSError):  # not on this platform, or not between these file systems
            reader.seek(0)
            writer.seek(0)
            shutil.copyfileobj(reader, writer)
    shutil.copystat(source, target)


def digest(tree: Path) -> tuple[bytes, int]:
    """(SHA-256 of a deterministic listing, bytes of all files) of a tree, compiled bytecode left out.

    The listing has a line per entry: kind, executable or not, path, and the content's own SHA-256 (for a
    link: where it points), so it changes exactly when what would run changes.
    """
    listing = hashlib.sha256()
    size = 0
    for path in _entries(tree):
        relative = path.relative_to(tree)
        if _BYTECODE in relative.parts:
            continue
        if path.is_symlink():
            kind, content = "link", os.fsencode(path.readlink()).hex()
        elif path.is_dir():
            kind, content = "directory", ""
        else:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            status = path.stat()
            size += status.st_size
            kind = "program" if status.st_mode & 0o111 else "file"
        listing.update(f"{kind}\0".encode() + os.fsencode(relative) + f"\0{content}\n".encode())
    return listing.digest(), size


def zip_tree(tree: Path) -> bytes:
    """The tree as a zip, bytecode left out; the same tree always gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in _entries(tree):
            relative = path.relative_to(tree)
            if _BYTECODE in relative.parts or (path.is_dir() and not path.is_symlink()):
                continue
            entry = zipfile.ZipInfo(relative.as_posix(), _ZIP_DATE)
            entry.external_attr = path.lstat().st_mode << 16
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def python_files(tree: Path) -> int:
    """How many modules there are to compile."""
    return sum(path.suffix == ".py" for path in _entries(tree))


def unpacked_bytes(tree: Path) -> int:
    """Bytes of all files, compiled bytecode left out: what counts against the unzipped quota."""
    files = (path for path in _entries(tree) if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files if _BYTECODE not in path.relative_to(tree).parts)
