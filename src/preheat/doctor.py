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
from preheat import config
from preheat.kernel.errors import PreheatError
from preheat.kernel.interpreters import interpreter
from preheat.kernel.settings import Settings
from preheat.oci.lambda_base import libraries_of
from preheat.sandbox.cgroup import hierarchies
from preheat.sandbox.choice import choose
from preheat.sandbox.container import runc, unusable
from preheat.sandbox.docker import engine
from preheat.sandbox.trial import try_container, try_docker

_RUNTIMES = [f"python3.{minor}" for minor in range(8, 14)]


@dataclass(frozen=True)
class Finding:
    ok: bool
    what: str
    detail: str


def examine() -> list[Finding]:
    """One finding per capability, in the order a person would ask."""
    settings = config.load(Path.cwd(), {})
    tried = {"container": _containers(), "docker": _docker(settings.docker_host)}
    return [
        Finding(True, "machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        Finding(
            True,
            "room",
            f"{settings.max_inits} inits at once, {settings.memory_budget_mb} MB for environments (settings)",
        ),
        *(_runtime(name) for name in _RUNTIMES),
        *_own_places(),
        _limits(),
        Finding(True, "sandbox process", "for functions from zips: trusted code, no isolation of files or network"),
        *tried.values(),
        _images(settings, tried),
        _cpu_share(),
        _extra("load", "locust", "preheat load"),
        _extra("report", "matplotlib", "preheat report"),
    ]


def _runtime(name: str) -> Finding:
    try:
        return Finding(True, f"runtime {name}", str(interpreter(name)))
    except PreheatError as error:
        return Finding(False, f"runtime {name}", str(error))


def _own_places() -> tuple[Finding, Finding]:
    """Try it: a child isolates itself and says whether /tmp and /var/task became its own."""
    guest = Path(preheat.__file__).parent / "guest"
    with tempfile.TemporaryDirectory() as tmp:
        keep = [str(p) for p in (guest, Path(sys.prefix)) if str(p).startswith("/tmp/")]
        code = "import sys; sys.path.insert(0, sys.argv[1]); import preheat_isolation as i; "
        code += "tmp, _, task = i.isolate(sys.argv[2], sys.argv[3:], (), sys.argv[1]); sys.exit(4 | tmp | task << 1)"
        status = subprocess.run([sys.executable, "-S", "-c", code, str(guest), tmp, *keep], check=False).returncode
    found = status if status in (5, 6, 7) else 4
    own = "each environment has a /tmp of its own (mount namespace)"
    own_tmp = own if found & 1 else "no mount namespaces here: environments get their own directory through TMPDIR"
    own = "functions from zips find their code there, read-only"
    own_task = (
        own if found & 2 else "code is where it was unpacked (LAMBDA_TASK_ROOT names it): no mount namespaces here"
    )
    return Finding(found & 1 > 0, "own /tmp", own_tmp), Finding(found & 2 > 0, "own /var/task", own_task)


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
    """Start one: what stands in /proc and on PATH promises little."""
    why = unusable()
    if why is None:
        with tempfile.TemporaryDirectory() as directory:
            try:
                try_container(Path(directory), _shell())
            except OSError as error:
                why = f"a trial container did not start: {error}"
    if why is not None:
        return Finding(False, "sandbox container", why)
    return Finding(True, "sandbox container", f"{runc()}, overlay, own network; a trial container started")


def _docker(docker_host: str) -> Finding:
    try:
        api = engine(docker_host)
        if not sys.platform.startswith("linux"):  # then this machine has no files for a Linux container
            return Finding(True, "sandbox docker", f"an engine answers at {api.path} (no trial container from here)")
        architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        with tempfile.TemporaryDirectory() as directory:
            try_docker(Path(directory), api, _shell(), architecture)
    except (OSError, PreheatError) as error:
        return Finding(False, "sandbox docker", str(error))
    return Finding(True, "sandbox docker", f"an engine answers at {api.path}; a trial container started")


def _shell() -> list[Path]:
    shell = Path("/bin/sh")
    return [shell, *libraries_of([shell])]


def _images(settings: Settings, tried: dict[str, Finding]) -> Finding:
    """What is chosen, and whether it stood its trial."""
    choice = choose(settings.image_sandbox, settings.docker_host)
    if choice.problem:
        return Finding(False, "functions from images", f"refused: the setting says {choice.kind}, but {choice.problem}")
    if choice.kind in tried and not tried[choice.kind].ok:
        return Finding(False, "functions from images", f"the {choice.kind} sandbox is chosen and will not work (above)")
    limit = ": Lambda's Python images only, nothing isolated" if choice.kind == "process" else ""
    return Finding(True, "functions from images", f"run in the {choice.kind} sandbox{limit} ({choice.why})")


def _extra(extra: str, module: str, command: str) -> Finding:
    if importlib.util.find_spec(module) is not None:
        return Finding(True, command, f"{module} is installed")
    return Finding(False, command, f"needs: pip install 'preheat[{extra}]'")
