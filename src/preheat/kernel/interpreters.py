"""Finding the Python interpreter that a runtime's name means on this machine."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

from preheat.kernel.errors import PreheatError


@functools.cache
def interpreter(runtime: str) -> Path:
    """The interpreter for "python3.11" and the like: our own where the version is ours, else one on PATH,
    else one of pyenv's. Raises PreheatError naming the runtime if this machine has none."""
    if not runtime.startswith("python3."):
        raise PreheatError(f"runtime {runtime!r} is not one this machine can run: use python3.8 to python3.13", 253)
    if runtime == f"python{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(runtime.removeprefix("python") + ".*/bin/python"))
    candidates = [shutil.which(runtime), *map(str, reversed(pyenv))]
    for candidate in candidates:
        if candidate and _version(candidate) == runtime:
            return Path(candidate)
    raise PreheatError(f"no interpreter for runtime {runtime} found: install {runtime} and put it on PATH", 253)


def _version(command: str) -> str | None:
    """ "python3.X" of a command, None where it does not run (a pyenv shim without that version)."""
    code = "import sys; print('python%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([command, "-S", "-c", code], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
