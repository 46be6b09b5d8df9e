"""`RUN pip install ...` without running anything of the image: the matching interpreter's pip, into a layer."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.kernel.build import Say
from preheat.oci.compile_step import compiled
from preheat.oci.dockerfile import Instruction, substitute
from preheat.oci.tree import Entry, Tree, directory, entry_of, placed

_PIP = re.compile(r"(?:pip3?(?:\.\d+)?|python3?(?:\.\d+)? -m pip) (?:--\S+ )*install\b ?(.*)", re.DOTALL)
_SHELL = re.compile(r"[|<>`;&(){}*?]|\$\(")
_FILE_OPTIONS = {"-r", "--requirement", "-c", "--constraint", "-e", "--editable", "-f", "--find-links"}
_PROGRESS = re.compile(r"^\s*(Collecting|Downloading|Using cached|Building|Installing) \S+")
_INTERPRETER = re.compile(r"var/lang/bin/python(3\.\d+)")
PREFIX = "/var/lang"
"""Where Lambda's Python images have their interpreter."""
_FOREIGN = ("manylinux2014_x86_64", "manylinux_2_17_x86_64")
"""Wheels that every Lambda base image can load: Amazon Linux 2 has glibc 2.26 (Lambda docs, "Runtimes")."""


@dataclass(frozen=True, slots=True)
class PipInstall:
    """One `pip install`: its arguments, without the target, and where in the image it installs to."""

    arguments: tuple[str, ...]
    target: str | None


def parse_run(run: Instruction, variables: Mapping[str, str]) -> list[PipInstall]:
    """The pip installs that a RUN consists of. Raises DockerfileError for anything else."""
    command = run.array()
    text = shlex.join(command) if command is not None else run.text
    if run.flags:
        raise run.fail(f"RUN --{next(iter(run.flags))} is not built in preheat: use docker build")
    installs = []
    for part in text.split("&&"):
        expanded = substitute(part, variables).strip()
        match = _PIP.fullmatch(" ".join(expanded.split()))
        if match is None or _SHELL.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", expanded)):
            raise run.fail(f"RUN {_short(expanded)}: without a container only pip install can be run: use docker build")
        try:
            installs.append(_install(shlex.split(match[1])))
        except ValueError as error:
            raise run.fail(f"RUN {_short(expanded)}: {error}") from None
    return installs


def python_of(tree: Tree) -> str | None:
    """ "3.11" where the image has Lambda's Python 3.11."""
    for name in tree.children(f"{PREFIX}/bin"):
        match = _INTERPRETER.fullmatch(f"var/lang/bin/{name}")
        if match:
            return match[1]
    return None


class PipStep:
    """Runs pip installs for one image. `python` is the interpreter, `version` its "3.11"; `own_base` says that the
    image's system libraries are this machine's, else only wheels that fit Amazon Linux are taken."""

    def __init__(self, python: Path, version: str, *, own_base: bool, say: Say) -> None:
        self._python = python
        self._version = version
        self._own_base = own_base
        self._say = say

    def key(self, install: PipInstall, diff_ids: Sequence[str], workdir: str) -> str:
        """Names the result: what was installed onto the same layers before need not be installed again."""
        facts = (self._version, str(self._own_base), workdir, install.target or "", *install.arguments, *diff_ids)
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()

    def run(self, install: PipInstall, tree: Tree, workdir: str, work: Path) -> Iterator[Entry]:
        """Install below `work`, which must stay until the layer is packed. Raises OSError, RuntimeError with pip's
        own reason."""
        inside, into = work / "image", work / "packages"
        _materialise(tree, inside)
        cwd = inside / workdir.strip("/")
        cwd.mkdir(parents=True, exist_ok=True)
        arguments = [_outside(argument, inside) for argument in install.arguments]
        self._say(f"pip install {' '.join(install.arguments)}")
        self._pip([*arguments, "--target", str(into)], cwd)
        into.mkdir(exist_ok=True)
        packages = posixpath.join(workdir, install.target) if install.target else self._site_packages
        scripts = f"{packages}/bin" if install.target else f"{PREFIX}/bin"
        modules: list[tuple[Path, str]] = []
        for found in sorted(into.rglob("*")):
            relative = found.relative_to(into).as_posix()
            if found.suffix == ".py" and not relative.startswith("bin/"):
                modules.append((found, f"{packages}/{relative}"))
            if "__pycache__" in relative.split("/"):
                continue
            if relative == "bin" or relative.startswith("bin/"):
                yield self._script(found, scripts + relative.removeprefix("bin"))
            else:
                yield placed(entry_of("", found), f"{packages}/{relative}")
        yield from compiled(self._python, self._version, modules, work / "bytecode")

    @property
    def _site_packages(self) -> str:
        return f"{PREFIX}/lib/python{self._version}/site-packages"

    def _script(self, found: Path, path: str) -> Entry:
        """A console script, made to start the image's interpreter."""
        if found.is_dir():
            return placed(directory(""), path)
        content = found.read_bytes()
        first, newline, rest = content.partition(b"\n")
        if first.startswith(b"#!") and b"python" in first:
            content = f"#!{PREFIX}/bin/python{self._version}".encode() + newline + rest
        return Entry(path.strip("/"), "file", 0o755, data=content)

    def _pip(self, arguments: list[str], cwd: Path) -> None:
        command = [str(self._python), "-m", "pip", "install", "--no-compile", "--no-input"]
        command += ["--disable-pip-version-check", "--progress-bar", "off", "--no-warn-script-location"]
        if not self._own_base:
            command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", self._version]
            command += [option for platform in _FOREIGN for option in ("--platform", platform)]
        tail: list[str] = []
        with subprocess.Popen(
            [*command, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as pip:
            assert pip.stdout is not None
            for line in pip.stdout:
                tail = [*tail[-50:], line.strip()]
                if _PROGRESS.match(line):
                    self._say(f"  {line.partition(' (from ')[0].strip()}")
        if pip.returncode != 0:
            errors = [line for line in tail if line.upper().startswith("ERROR")]
            raise RuntimeError((errors or tail or ["pip printed nothing"])[-1].removeprefix("ERROR: "))


def _install(words: list[str]) -> PipInstall:
    arguments: list[str] = []
    target: str | None = None
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in ("-t", "--target"):
            target = value if equals else next(left, "")
        elif name in ("--user", "--prefix", "--root"):
            raise ValueError(f"{name} is not built in preheat: use docker build")
        elif name != "--no-cache-dir":  # the cache of this machine does not end up in the image anyway
            arguments.append(word)
    if target == "":
        raise ValueError("--target needs a directory")
    return PipInstall(tuple(arguments), target)


def _materialise(tree: Tree, root: Path) -> None:
    """What the build has added, as files that pip can read; links to the originals, so nothing is copied."""
    root.mkdir()
    for path in sorted(tree.added):
        entry, place = tree.added[path], root / path
        if not path:
            continue
        if entry.kind == "directory":
            place.mkdir(exist_ok=True)
        elif entry.kind == "link":
            place.symlink_to(entry.target)
        elif entry.source is not None:
            place.symlink_to(entry.source.resolve())
        else:
            place.write_bytes(entry.data)


def _outside(argument: str, root: Path) -> str:
    """An absolute path of the image is one below `root`; pip reads nothing else of this machine."""
    name, equals, value = argument.partition("=")
    if equals and name in _FILE_OPTIONS and value.startswith("/"):
        return f"{name}={root}{value}"
    return f"{root}{argument}" if argument.startswith("/") else argument


def _short(command: str) -> str:
    return command if len(command) <= 60 else f"{command[:57]}..."
