"""Limits of memory, processes and CPU, and the freezer, by control groups (version 1 and 2) where writable."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

from preheat.sandbox.guardian import Guardian

_ROOT = Path("/sys/fs/cgroup")
PIDS_MAX = 1024
"""Processes and threads of one environment (AWS's limit, Lambda quotas)."""
CPU_PERIOD_US = 20_000
"""Of the CPU quota. A short period keeps a throttled handler's pauses short."""
_CONTROLLERS = ("memory", "pids", "cpu", "freezer")
_DYING_S = 2.0


def hierarchies() -> list[Path]:
    """The writable cgroup roots with one of our controllers: one for v2, several for v1."""
    if is_unified():
        controllers = (_ROOT / "cgroup.controllers").read_text().split()
        roots = [_ROOT] if {"memory", "pids"} <= set(controllers) else []
    else:
        roots = [_ROOT / name for name in _CONTROLLERS if (_ROOT / name / "cgroup.procs").exists()]
    return [root for root in roots if os.access(root, os.W_OK)]


def is_unified() -> bool:
    """Version 2: one hierarchy for all controllers."""
    return (_ROOT / "cgroup.controllers").exists()


class CgroupParent:
    """The group of one server; each environment is a child of it. Named by the server's data directory's
    identity so that a restarted server finds what its predecessor left. `guarded`: its groups end with the server."""

    def __init__(self, name: str, *, guarded: bool = False) -> None:
        self.paths: list[Path] = []
        self._guarded = guarded
        self._guardian: Guardian | None = None
        self._own = uuid.uuid4().hex[:8]
        for root in hierarchies():
            path = root / name
            try:
                path.mkdir(exist_ok=True)
                if root == _ROOT:
                    for parent in (root, path):
                        (parent / "cgroup.subtree_control").write_text("+memory +pids +cpu")
            except OSError:
                continue
            self.paths.append(path)

    def child(self, environment: str, memory_mb: int) -> Cgroup:
        if self._guarded and self.paths:
            self._guarded = False
            with contextlib.suppress(OSError):  # no shell here: the next start ends what is left
                self._guardian = Guardian(self.paths, self._own)
        return Cgroup([path / self.name(environment) for path in self.paths], memory_mb)

    def name(self, environment: str) -> str:
        """Of its group: with something of this server's own, where the next one may already be at work."""
        return f"{self._own}-{environment}"

    def left_over(self) -> list[Cgroup]:
        """The groups of environments that an earlier server did not remove."""
        present = [path for path in self.paths if path.is_dir()]
        names = {entry.name for path in present for entry in path.iterdir() if entry.is_dir()}
        return [Cgroup([path / name for path in self.paths]) for name in sorted(names)]

    def remove(self) -> None:
        """The groups of environments too: those whose killed processes the kernel has not ended yet are
        waited for, bounded, because nobody else will remove them."""
        deadline = time.monotonic() + _DYING_S
        while [group for group in self.left_over() if not group.remove()] and time.monotonic() < deadline:
            time.sleep(0.005)
        if self._guardian is not None:
            self._guardian.dismiss()
            self._guardian = None
        for path in self.paths:
            with contextlib.suppress(OSError):
                path.rmdir()


class Cgroup:
    """One environment's group, over as many hierarchies as there are."""

    def __init__(self, paths: list[Path], memory_mb: int | None = None) -> None:
        self.paths = paths
        self._files: dict[str, Path | None] = {}
        self._period_set = False
        if memory_mb is None:
            return
        for path in paths:
            path.mkdir(exist_ok=True)
        limit = str(memory_mb * 2**20)
        self._write("memory.limit_in_bytes", limit)
        self._write("memory.max", limit)
        self._write("memory.swap.max", "0")
        self._write("pids.max", str(PIDS_MAX))

    def unlimit(self) -> None:
        """Lift the limits of memory and processes."""
        self._write("memory.limit_in_bytes", "-1")
        self._write("memory.max", "max")
        self._write("pids.max", "max")

    def add(self, pid: int) -> None:
        for path in self.paths:
            with contextlib.suppress(OSError):  # it has ended already
                (path / "cgroup.procs").write_text(str(pid))

    def open_procs(self) -> list[int]:
        """Descriptors of the files by which a process joins; they are the caller's. Raises OSError."""
        return [os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for path in self.paths]

    def pids(self) -> list[int]:
        found: set[int] = set()
        for path in self.paths:
            with contextlib.suppress(OSError):
                found.update(int(line) for line in (path / "cgroup.procs").read_text().split())
        return sorted(found)

    def kill(self) -> int:
        """SIGKILL every member until none is left (a fork bomb outruns one pass); returns how many."""
        killed: set[int] = set()
        self.thaw()  # the frozen do not die
        deadline = time.monotonic() + _DYING_S
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if killed.issuperset(pids):
                break  # all have been signalled: what is still listed is a zombie or about to go
            killed.update(pids)
        return len(killed)

    def peak_memory_mb(self) -> int:
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            text = self._read(name)
            if text:
                return -(-int(text) // 2**20)
        return 0

    def oom_kills(self) -> int:
        for name in ("memory.oom_control", "memory.events"):
            for line in self._read(name).splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        return 0

    def remove(self) -> bool:
        """True once every directory is gone; a group whose processes are still dying cannot be removed."""
        gone = True
        for path in self.paths:
            try:
                path.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                gone = False
        return gone

    def limit_cpu(self, share: float | None) -> bool:
        """Let its processes use `share` of one core (None: all there is); False where this is not possible."""
        quota_us = -1 if share is None else max(1000, int(share * CPU_PERIOD_US))
        if not self._period_set:  # once: a cold start waits for each of these writes
            self._period_set = self._write("cpu.cfs_period_us", str(CPU_PERIOD_US))
        if self._period_set:
            return self._write("cpu.cfs_quota_us", str(quota_us))
        return self._write("cpu.max", f"{'max' if share is None else quota_us} {CPU_PERIOD_US}")

    def freeze(self) -> bool:
        """Stop every process where it stands; False where this is not possible."""
        return self._write("freezer.state", "FROZEN") or self._write("cgroup.freeze", "1")

    def thaw(self) -> bool:
        return self._write("freezer.state", "THAWED") or self._write("cgroup.freeze", "0")

    def open_thaw(self) -> tuple[int, str] | None:
        """A descriptor for others to thaw it by, which is the caller's, and what to write there."""
        for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            file = self._file(name)
            if file is not None:
                return os.open(file, os.O_WRONLY | os.O_CLOEXEC), word
        return None

    def _file(self, name: str) -> Path | None:
        if name not in self._files:
            self._files[name] = next((path / name for path in self.paths if (path / name).exists()), None)
        return self._files[name]

    def _write(self, name: str, text: str) -> bool:
        file = self._file(name)
        if file is None:
            return False
        try:
            fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(fd, text.encode())
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _read(self, name: str) -> str:
        file = self._file(name)
        try:
            return file.read_text() if file is not None else ""
        except OSError:
            return ""
