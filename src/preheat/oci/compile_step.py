"""Bytecode for an image whose root is read-only: without it every cold start would compile what it imports."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

from preheat.oci.tree import Entry, directory

_GROUPS = 4
"""Files are compiled by as many processes, always the same ones together: what marshal writes depends on what the
process has compiled before (bpo-34093), and a layer must not depend on how many cores built it."""
_PROGRAM = """
import py_compile, sys
for line in sys.stdin:
    source, target, shown = line.rstrip("\\n").split("\\t")
    try:
        py_compile.compile(source, target, shown, doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except (py_compile.PyCompileError, OSError, UnicodeError, ValueError, RecursionError):
        pass  # templates and test data that are no Python
"""


def compiled(python: Path, version: str, files: Iterable[tuple[Path, str]], work: Path) -> Iterator[Entry]:
    """Entries of the bytecode of modules: (source, path in the image) each. `version` is as "3.11".

    The files lie in `work`, which must stay until they are packed. They are never checked against their source
    (PEP 552: unchecked), whose time the layer changes. Raises RuntimeError where the interpreter does not run.
    """
    work.mkdir(parents=True, exist_ok=True)
    tag = f"cpython-{version.replace('.', '')}"
    groups: list[list[tuple[Path, Path, str]]] = [[] for _ in range(_GROUPS)]
    for number, (source, shown) in enumerate(sorted(files, key=lambda pair: pair[1])):
        if not set("\t\n") & set(f"{source}{shown}"):
            groups[crc32(shown.encode()) % _GROUPS].append((source, work / f"{number}.pyc", shown))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda group: _compile(python, group), groups))
    for _, target, shown in sorted((item for group in groups for item in group), key=lambda item: item[2]):
        if target.exists():
            folder, _, name = shown.strip("/").rpartition("/")
            yield directory(f"{folder}/__pycache__")
            path = f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
            yield Entry(path, "file", 0o644, source=target)


def _compile(python: Path, group: list[tuple[Path, Path, str]]) -> None:
    lines = "".join(f"{source}\t{target}\t{shown}\n" for source, target, shown in group)
    done = subprocess.run(
        [str(python), "-S", "-c", _PROGRAM],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{python} cannot compile: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
