"""Start a server, know when it answers, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.client import HOST, Connection

POLL_S = 0.001


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def own_environment(**extra: str) -> dict[str, str]:
    """This process's environment without what would leak this run's Python or AWS settings into a server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "AWS_", "VIRTUAL_ENV"))}
    return {**kept, **extra}


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in `log`; ended with all its children."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=dict(env) if env is not None else own_environment(),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_answered(process: subprocess.Popen[bytes], port: int, request: bytes, log: Path, limit_s: float) -> None:
    """Return once `request` has been answered with 200; raise RuntimeError with the log's end otherwise."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Connection(port, timeout_s=limit_s) as connection:
                connection.send(request)
                return
        except (OSError, RuntimeError):
            time.sleep(POLL_S)
    tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{Path(str(process.args[0])).name} did not answer in {limit_s:g} s:\n{tail}")  # type: ignore[index]


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in tree(int(child)))]


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its descendants, MB of 1,000,000 bytes (VmRSS, proc(5); it counts in KiB)."""
    total_kib = 0
    for member in tree(pid):
        for line in Path(f"/proc/{member}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total_kib += int(line.split()[1])
    return total_kib * 1024 / 1e6


def pss_mb(pid: int) -> float:
    """Proportional set size of one process, MB of 1,000,000 bytes (smaps_rollup, proc(5); it counts in KiB)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no Pss")
