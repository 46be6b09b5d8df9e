"""Finding the Python interpreter that a runtime's name means on this machine."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from preheat.kernel.errors import PreheatError
from preheat.kernel.runtimes import is_custom


@functools.cache
def interpreter(runtime: str) -> Path:
    """The interpreter for "python3.11" and the like: our own where the version is ours, else one on PATH, else one
    of pyenv's or uv's, else what the py launcher starts for that version; for a custom runtime our own, which starts
    its bootstrap. Raises PreheatError naming the runtime if this machine has none."""
    if is_custom(runtime):
        return Path(sys.executable)
    if not runtime.startswith("python3."):
        raise PreheatError(f"runtime {runtime!r} is not one this machine can run: use python3.8 to python3.13", 253)
    if runtime == f"python{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    version = runtime.removeprefix("python")
    for candidate in _candidates(version):
        if _version(candidate) == runtime:
            return Path(candidate)
    raise PreheatError(f"no interpreter for runtime {runtime} found: install {runtime} and put it on PATH", 253)


def _candidates(version: str) -> Iterator[str]:
    """Of "3.11", in the order to try them; of several patch versions the newest first."""
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    home, environ = Path.home(), os.environ
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for root, pattern in ((pyenv, f"{version}.*/bin/python"), (uv, f"cpython-{version}.*/bin/python{version}")):
        yield from map(str, sorted(root.glob(pattern), key=_patch, reverse=True))
    launcher = shutil.which("py")
    if launcher:
        command = [launcher, f"-{version}", "-c", "import sys; print(sys.executable)"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode == 0:
            yield done.stdout.strip()


def _patch(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.parents[1].name)]


def _version(command: str) -> str | None:
    """ "python3.X" of a command, None where it does not run (a pyenv shim without that version)."""
    code = "import sys; print('python%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([command, "-S", "-c", code], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
