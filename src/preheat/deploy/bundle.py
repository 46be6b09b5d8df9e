"""From a project's folder to what Lambda runs: a build directory, and a zip of it for AWS."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from preheat.deploy.ignore import project_files
from preheat.deploy.packages import Say, install
from preheat.kernel.errors import PreheatError

MAX_ZIP_BYTES = 52_428_800
"""Largest zip in one API call (docs.aws.amazon.com/lambda, "Lambda quotas"; the wire's own message in FIDELITY)."""


def build(
    project_dir: Path, name: str, runtime: str, handler: str, *, for_aws: bool, cache_dir: Path, say: Say
) -> Path:
    """Assemble `cache_dir/functions/<name>`: installed requirements with the project's own files over them.

    Returns its absolute path. Raises PreheatError 252 if the handler's module is not among the files.
    """
    if not project_dir.is_dir():
        raise PreheatError(f"{project_dir}: no such directory", 252)
    files = list(project_files(project_dir))
    check_handler(project_dir, files, handler)
    requirements = project_dir / "requirements.txt"
    packages = None
    if requirements.is_file():
        packages = install(requirements, runtime, for_aws=for_aws, cache_dir=cache_dir, say=say)
    return _assemble(project_dir, files, packages, cache_dir.resolve() / "functions" / name)


def check_handler(project_dir: Path, files: list[str], handler: str) -> None:
    """Find the handler's module as AWS's runtime client does: "dir/module.function", dots for packages."""
    module, dot, _ = handler.rpartition(".")
    if not dot or not module:
        raise PreheatError(f"--handler {handler}: give MODULE.FUNCTION", 252)
    stem = module.replace(".", "/")
    if f"{stem}.py" not in files and f"{stem}/__init__.py" not in files:
        raise PreheatError(f"{project_dir}: no {stem}.py for handler {handler} (give --handler MODULE.FUNCTION)", 252)


def zipped(build_dir: Path) -> bytes:
    """The build directory as a zip, the same bytes for the same files. Raises PreheatError when over Lambda's limit."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in build_dir.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(build_dir).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            archive.writestr(entry, path.read_bytes())
    data = buffer.getvalue()
    if len(data) >= MAX_ZIP_BYTES:
        raise PreheatError(
            f"the zip is {len(data) / 1e6:.0f} MB, and one request to Lambda takes less than "
            f"{MAX_ZIP_BYTES / 1e6:.0f} MB: create the function from S3, or as a container image",
            252,
        )
    return data


def _assemble(project_dir: Path, files: list[str], packages: Path | None, destination: Path) -> Path:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix="building-") as temporary:
        fresh = Path(temporary) / "new"
        if packages is not None:
            shutil.copytree(packages, fresh, copy_function=_link)
        fresh.mkdir(exist_ok=True)
        for name in files:
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # a hard link into the cache: replace it, never write through it
            shutil.copy2(project_dir / name, target)
        if destination.exists():
            destination.rename(Path(temporary) / "old")
        fresh.rename(destination)
    return destination


def _link(source: str, target: str) -> str:
    """Hard links save the copy of a few hundred MB; across file systems there are none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
