"""Finding, starting and stopping a local cloud from another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError
from preheat.kernel.settings import Settings

_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 40.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server's own note in its data directory (`server.json`)."""

    pid: int
    endpoint_url: str
    data_dir: Path


def find(data_dir: Path) -> Running | None:
    """The server of a data directory, None where none answers."""
    try:
        note = json.loads((data_dir / "server.json").read_text())
        running = Running(int(note["pid"]), str(note["endpoint_url"]), data_dir)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    health = get_json(running.endpoint_url, "/_preheat/health")
    return running if health is not None and health.get("pid") == running.pid else None


def get_json(endpoint_url: str, path: str) -> dict[str, Any] | None:
    """A JSON answer of one of our own endpoints, None where nothing answers."""
    try:
        with urllib.request.urlopen(endpoint_url + path, timeout=5) as answer:
            value: dict[str, Any] = json.load(answer)
            return value
    except (OSError, ValueError):
        return None


def start_detached(settings: Settings) -> Running:
    """Start a server of its own session; returns once it answers. Raises PreheatError with its last line."""
    found = find(settings.data_dir)
    if found is not None:
        raise PreheatError(f"already up: {found.endpoint_url} (pid {found.pid})", 255)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    log_path = settings.data_dir / "server.log"
    argv = [sys.executable, "-m", "preheat", "up"]
    for field in fields(settings):
        argv += [f"--{field.name.replace('_', '-')}", str(getattr(settings, field.name))]
    with log_path.open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        found = find(settings.data_dir)
        if found is not None and found.pid == process.pid:
            return found
        if process.poll() is not None:
            lines = log_path.read_text(errors="replace").strip().splitlines()
            raise PreheatError((lines or ["it printed nothing"])[-1].removeprefix("preheat: "), 255)
        time.sleep(0.02)  # polling for an answer, not waiting for a guess
    process.terminate()
    raise PreheatError(f"the server did not answer within {_START_LIMIT_S:.0f} s; see {log_path}", 255)


def stop(running: Running) -> None:
    """SIGTERM (requests in flight finish), then SIGKILL past the limit; returns once it is gone."""
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _STOP_LIMIT_S
    while time.monotonic() < deadline:
        if not alive(running.pid):
            return
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass  # not our child: its parent reaps it
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True
