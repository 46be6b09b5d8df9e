"""What this machine can do for functions: looked up and tried, never assumed."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import preheat
from preheat.kernel.errors import PreheatError
from preheat.kernel.interpreters import interpreter
from preheat.kernel.settings import Settings
from preheat.sandbox.cgroup import hierarchies
from preheat.sandbox.container import runc, unusable
from preheat.sandbox.network import isolated

_RUNTIMES = [f"python3.{minor}" for minor in range(8, 14)]


@dataclass(frozen=True)
class Finding:
    ok: bool
    what: str
    detail: str


def examine() -> list[Finding]:
    """One finding per capability, in the order a person would ask."""
    settings = Settings()
    return [
        Finding(True, "machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        Finding(
            True,
            "room",
            f"{settings.max_inits} inits at once, {settings.memory_budget_mb} MB for environments (settings)",
        ),
        *(_runtime(name) for name in _RUNTIMES),
        _own_tmp(),
        _limits(),
        Finding(True, "sandbox process", "for functions from zips: trusted code, no isolation of files or network"),
        _containers(),
        _cpu_share(),
        _extra("load", "locust", "preheat load"),
        _extra("report", "matplotlib", "preheat report"),
    ]


def _runtime(name: str) -> Finding:
    try:
        return Finding(True, f"runtime {name}", str(interpreter(name)))
    except PreheatError as error:
        return Finding(False, f"runtime {name}", str(error))


def _own_tmp() -> Finding:
    """Try it: a child isolates itself and says whether /tmp became its own."""
    guest = Path(preheat.__file__).parent / "guest"
    with tempfile.TemporaryDirectory() as tmp:
        keep = [str(p) for p in (guest, Path(sys.prefix)) if str(p).startswith("/tmp/")]
        code = "import sys; sys.path.insert(0, sys.argv[1]); import preheat_isolation as i; "
        code += "sys.exit(0 if i.isolate(sys.argv[2], sys.argv[3:])[0] else 1)"
        done = subprocess.run([sys.executable, "-S", "-c", code, str(guest), tmp, *keep], check=False)
    if done.returncode == 0:
        return Finding(True, "own /tmp", "each environment has a /tmp of its own (mount namespace)")
    return Finding(False, "own /tmp", "no mount namespaces here: environments get their own directory through TMPDIR")


def _limits() -> Finding:
    roots = hierarchies()
    if roots:
        return Finding(True, "memory limit", f"enforced by cgroup ({', '.join(root.name for root in roots)})")
    return Finding(False, "memory limit", "not enforced: no writable cgroup (run as root, or delegate one)")


def _cpu_share() -> Finding:
    if any((root / name).exists() for root in hierarchies() for name in ("cpu.cfs_quota_us", "cgroup.controllers")):
        return Finding(True, "CPU share", "handlers get memory/1769 of a core, by cgroup; init is not throttled")
    return Finding(False, "CPU share", "not enforced: a function gets whole cores whatever its memory size")


def _containers() -> Finding:
    """Functions from images run in containers or not at all."""
    why = unusable()
    if why is None:
        try:
            place = isolated()
        except OSError as error:
            why = str(error)
        else:
            place.listener.close()
            os.close(place.network_fd)
    if why is not None:
        return Finding(False, "sandbox container", f"no functions from images here: {why}")
    return Finding(True, "sandbox container", f"for functions from images: {runc()}, overlay, own network")


def _extra(extra: str, module: str, command: str) -> Finding:
    if importlib.util.find_spec(module) is not None:
        return Finding(True, command, f"{module} is installed")
    return Finding(False, command, f"needs: pip install 'preheat[{extra}]'")
