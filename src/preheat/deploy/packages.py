"""A project's dependencies, installed once per set of requirements into a cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from preheat.kernel.errors import PreheatError

Say = Callable[[str], None]

AWS_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64")
"""Wheels for every Lambda base image: Amazon Linux 2 has glibc 2.26 (docs.aws.amazon.com/lambda, "Lambda runtimes")."""

_PROGRESS = re.compile(r"^\s*(Collecting|Downloading|Using cached|Processing|Building|Installing) \S+")


def install(requirements: Path, runtime: str, *, for_aws: bool, cache_dir: Path, say: Say) -> Path:
    """A directory with the requirements installed for a runtime such as "python3.11", made if not there yet.

    Nothing is compiled (whoever runs the function compiles for its own interpreter) and test modules are
    removed: Lambda takes 250 MB unzipped. Raises PreheatError with pip's own reason.
    """
    version = python_version(runtime)
    command = _pip(version, for_aws=for_aws)
    texts = "\0".join(text for _, text in sorted(_requirement_files(requirements)))
    flavour = AWS_PLATFORMS[0] if for_aws else f"{sys.platform}-{os.uname().machine}"
    key = hashlib.sha256("\0".join((texts, runtime, flavour)).encode()).hexdigest()[:16]
    done = cache_dir / f"packages-{key}"
    if done.is_dir():
        say(f"dependencies of {requirements.name}: cached ({done.name})")
        return done
    cache_dir.mkdir(parents=True, exist_ok=True)
    say(f"installing {requirements.name} for {runtime} with pip")
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix="installing-") as temporary:
        into = Path(temporary).resolve() / "packages"
        _run_pip([*command, "--target", str(into), "-r", requirements.name], requirements.parent, say)
        into.mkdir(exist_ok=True)
        prune(into)
        try:
            into.rename(done)
        except OSError:
            if not done.is_dir():  # else another deploy was faster: its result is as good
                raise
    return done


def python_version(runtime: str) -> str:
    """ "3.11" of "python3.11"; raises PreheatError 252 for anything that is not a Python runtime."""
    match = re.fullmatch(r"python(3\.\d+)", runtime)
    if match is None:
        raise PreheatError(f"--runtime {runtime}: Python runtimes are python3.8 to python3.13", 252)
    return match[1]


def prune(packages: Path) -> None:
    """Remove what a function never runs: test modules and their data, bytecode, console scripts.

    Helpers in a `tests` package stay: numpy.testing, which scipy imports, needs `numpy._core.tests._natype`.
    """
    for folder, names, files in os.walk(packages):
        in_tests = "tests" in Path(folder).relative_to(packages).parts[1:]
        for name in [name for name in names if name == "__pycache__" or (in_tests and name == "data")]:
            shutil.rmtree(Path(folder) / name)
            names.remove(name)
        for name in files:
            if in_tests and name.startswith("test_"):
                (Path(folder) / name).unlink()
    shutil.rmtree(packages / "bin", ignore_errors=True)


@cache
def interpreter(version: str) -> str | None:
    """A Python of that version on this machine that has pip; None if there is none."""
    candidates = [sys.executable] if version == f"{sys.version_info[0]}.{sys.version_info[1]}" else []
    found = shutil.which(f"python{version}")
    for path in [*candidates, *([found] if found else [])]:
        probe = subprocess.run([path, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
        if probe.returncode == 0 and f"(python {version})" in probe.stdout:
            return path
    return None


def _pip(version: str, *, for_aws: bool) -> list[str]:
    """The pip command: the runtime's own interpreter where it can be used, else this one's, choosing wheels for it."""
    own = interpreter(version)
    tool = own or interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}")
    if tool is None:
        raise PreheatError(f"no pip: neither python{version} nor {sys.executable} has it (python -m ensurepip)")
    options = ["--no-compile", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if for_aws or own is None:
        options += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", version]
    if for_aws:
        options += [option for platform in AWS_PLATFORMS for option in ("--platform", platform)]
    return [tool, "-m", "pip", "install", *options]


def _run_pip(command: list[str], cwd: Path, say: Say) -> None:
    tail: list[str] = []
    with subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            tail = [*tail[-50:], line.strip()]
            if _PROGRESS.match(line):
                say(f"  {line.partition(' (from ')[0].strip()}")
    if pip.returncode != 0:
        errors = [line for line in tail if line.upper().startswith("ERROR")]
        reason = (errors or tail or ["no output"])[-1]
        raise PreheatError(f"pip could not install {command[-1]}: {reason.removeprefix('ERROR: ')}")


def _requirement_files(path: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of a requirements file and of those it includes with -r or -c."""
    todo, seen = [path], set[Path]()
    while todo:
        current = todo.pop().resolve()
        if current in seen or not current.is_file():
            continue
        seen.add(current)
        text = current.read_text("utf-8", errors="replace")
        yield str(current), text
        for line in text.splitlines():
            included = re.match(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", line)
            if included:
                todo.append(current.parent / included[1])
