"""A /tmp of a size: empty, everybody's, gone with its last descriptor."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from preheat.sandbox import tmp_disk
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.tmp_disk import TmpDisks

takes_root = pytest.mark.skipif(unusable() is not None, reason="mounts take root")


def loops(directory: Path) -> list[str]:
    """Loop devices whose files lie in a directory."""
    files = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [name for name in files if name.startswith(str(directory))]


def names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def fill(file: int, size_mb: int) -> None:
    for _ in range(size_mb):
        os.write(file, bytes(2**20))


@takes_root
def test_it_is_empty_and_full_at_its_size_and_leaves_nothing(tmp_path: Path) -> None:
    disks = TmpDisks(tmp_path)
    assert disks.unusable() is None
    first, second = disks.take(16), disks.take(16)
    root = os.open(".", os.O_RDONLY, dir_fd=first)
    assert names(root) == []
    assert os.fstat(root).st_mode & 0o7777 == 0o1777
    file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=root)
    with pytest.raises(OSError, match="No space left on device"):
        fill(file, 17)
    other = os.open(".", os.O_RDONLY, dir_fd=second)
    assert names(other) == []
    assert loops(tmp_path)
    for fd in (file, root, first, other, second):
        os.close(fd)
    disks.close()
    deadline = time.monotonic() + 10
    while loops(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel ends them in its own time
    assert loops(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-16.ext4"]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmp_disk, "_mkfs", lambda: None)
    disks = TmpDisks(tmp_path)
    assert "apt-get install e2fsprogs" in str(disks.unusable())
    with pytest.raises(OSError, match=r"mkfs\.ext4 is not installed"):
        disks.take(16)
    disks.close()
    factory = ContainerFactory(tmp_path / "containers")
    assert "mkfs.ext4 is not installed" in factory.limits()[0]
    factory.close()


def test_a_file_system_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmp_disk, "_mkfs", lambda: "/bin/false")
    disks = TmpDisks(tmp_path)
    with pytest.raises(OSError, match=r"mkfs\.ext4 failed: no output"):
        disks.take(16)
    disks.close()
