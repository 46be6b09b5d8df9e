"""The packages that a runtime finds besides the function's own: AWS's runtime client and boto3."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from preheat.kernel.errors import PreheatError
from preheat.kernel.interpreters import interpreter

_CLIENT = ("awslambdaric", "simplejson", "snapshot_restore_py", "snapshot_restore_py.py")
_OURS = (*_CLIENT, "boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
_NATIVE = "runtime_client"
_OLDEST_WITH_NAMED_CLIENT = "awslambdaric>=2.0"


class Runtimes:
    """Directories of runtime packages below `root`, one for each runtime, made when first wanted.

    For our own interpreter's version it holds links to the packages preheat itself depends on; for
    another version that interpreter's pip installs `awslambdaric` and `boto3` there once.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def directory(self, runtime: str) -> Path:
        """The directory for sys.path. Raises PreheatError where it cannot be made."""
        path = self._root / runtime
        if (path / "awslambdaric").exists() and (path / "boto3").exists():
            return path
        command = interpreter(runtime)
        path.mkdir(parents=True, exist_ok=True)
        if str(command) == sys.executable:
            self._link_ours(path)
        else:
            self._install(command, path, runtime)
        return path

    def _link_ours(self, path: Path) -> None:
        roots = [Path(p) for p in dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))]
        found = [p for root in roots for name in _OURS if (p := root / name).exists()]
        found += [p for root in roots for p in root.glob(f"{_NATIVE}.*.so")]
        for package in found:
            link = path / package.name
            link.unlink(missing_ok=True)  # an older preheat's, or one of a venv that has moved
            link.symlink_to(package)

    def _install(self, command: Path, path: Path, runtime: str) -> None:
        argv = [str(command), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(path)]
        argv += ["--upgrade", _OLDEST_WITH_NAMED_CLIENT, "boto3"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise PreheatError(f"awslambdaric and boto3 could not be installed for {runtime}: {why}", 255)
