"""A /tmp of a size: an ext4 file system in a nameless sparse file, as a mount that is in nobody's namespace yet.

A tmpfs would do for the size, but what lies in it is charged to the function's memory, and on AWS it is not. File,
loop device and file system go with the last mount, whoever is killed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

_CONTROL = "/dev/loop-control"
_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_LOOP_CONFIG = struct.Struct("=II5Q4I64s64s32s2Q64x")
"""struct loop_config (linux/loop.h): descriptor, block size, then struct loop_info64, of which only flags are set."""
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""The same numbers on every architecture (scripts/syscall.tbl); Linux 5.2."""
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_CLOEXEC = 1
_MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 2, 4
_ATTEMPTS = 10
_MKFS = ["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"]
"""No journal, for it does not outlive its mount; no inode tables written, neither now nor (noinit_itable) later."""
_BYTES_PER_INODE = 16_384

_libc = ctypes.CDLL(None, use_errno=True)


class TmpDisks:
    """Makes them, one ahead of each size that was asked for; an empty one is kept below `root`, to be copied."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._thread = ThreadPoolExecutor(1, "tmp-disks")
        self._ahead: dict[int, Future[int]] = {}

    def take(self, size_mb: int) -> int:
        """As `make`, mostly without waiting for it."""
        making = self._ahead.pop(size_mb, None) or self._thread.submit(self.make, size_mb)
        disk = making.result()
        self._ahead[size_mb] = self._thread.submit(self.make, size_mb)
        return disk

    def close(self) -> None:
        self._thread.shutdown()
        for making in self._ahead.values():
            if making.exception() is None:
                os.close(making.result())
        self._ahead.clear()

    def unusable(self) -> str | None:
        """Why this machine can have none; None where nothing speaks against it."""
        if _mkfs() is None:
            return "mkfs.ext4 is not installed (Debian: apt-get install e2fsprogs)"
        return None if Path(_CONTROL).exists() else f"there is no {_CONTROL} (modprobe loop)"

    def make(self, size_mb: int) -> int:
        """An empty one: the descriptor of its mount, for move_mount(2), which is the caller's. Raises OSError."""
        empty = self._empty(size_mb)
        file = os.open(self._root, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _copy(empty, file)
            loop, device = _loop(file)
        finally:
            os.close(file)
        try:
            mount = _mounted(device)
        finally:
            os.close(loop)
        try:
            _open_to_all(mount)
        except OSError:
            os.close(mount)
            raise
        return mount

    def _empty(self, size_mb: int) -> Path:
        path = self._root / f".tmp-{size_mb}.ext4"
        if path.exists():
            return path
        command = _mkfs()
        if command is None:
            raise OSError("mkfs.ext4 is not installed")
        self._root.mkdir(parents=True, exist_ok=True)
        work = path.with_suffix(".new")
        with work.open("wb") as file:
            file.truncate(size_mb * 2**20)
        done = subprocess.run(
            [command, *_MKFS, "-i", str(_BYTES_PER_INODE), str(work)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise OSError(f"mkfs.ext4 failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
        return work.replace(path)


def _mkfs() -> str | None:
    return shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")


def _copy(source: Path, target: int) -> None:
    """What is written of a sparse file: some hundred kilobytes."""
    with source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        os.ftruncate(target, size)
        end = 0
        with suppress(OSError):  # ENXIO: nothing but a hole is left
            while end < size:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                os.pwrite(target, os.pread(file.fileno(), end - start, start), start)


def _loop(file: int) -> tuple[int, str]:
    """A loop device on `file`, which ends when nobody has it open or mounted: (descriptor, path)."""
    config = _LOOP_CONFIG.pack(file, 0, *[0] * 5, 0, 0, 0, _LO_FLAGS_AUTOCLEAR, b"", b"", b"", 0, 0)
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            loop = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
            except OSError:  # somebody else was quicker
                os.close(loop)
                if attempt == _ATTEMPTS:
                    raise
            else:
                return loop, path
    finally:
        os.close(control)
    raise AssertionError("unreachable")


def _mounted(device: str) -> int:
    context = _call(_FSOPEN, b"ext4", _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _FSCONFIG_SET_STRING, b"source", device.encode(), 0)
        for flag in (b"noinit_itable", b"discard"):
            _call(_FSCONFIG, context, _FSCONFIG_SET_FLAG, flag, None, 0)
        _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV)
    finally:
        os.close(context)


def _open_to_all(mount: int) -> None:
    root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    try:
        os.fchmod(root, 0o1777)
        os.rmdir("lost+found", dir_fd=root)
    finally:
        os.close(root)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
