"""Which files of a project belong to the function: `.lambdaignore`, else `.dockerignore`, and what never does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from preheat.kernel.globs import GIT, expression

ALWAYS = (
    "__pycache__/",
    "*.py[co]",
    ".*",
    "*.egg-info/",
    "venv/",
    "node_modules/",
    "runs/",
    "locust_logs/",
)
"""Version control, caches, virtual environments and this program's own output; `!pattern` brings one back."""

Rule = tuple[re.Pattern[str], bool, bool]
"""(pattern over the whole relative path, directories only, negated)"""


def rules(lines: Iterable[str], *, anchored: bool = False) -> list[Rule]:
    """Compile gitignore lines (git-scm.com/docs/gitignore).

    `anchored`: every pattern starts at the root, as in a .dockerignore (docs.docker.com, "Dockerignore file").
    """
    compiled: list[Rule] = []
    for raw in lines:
        line = raw.rstrip()
        if not line or line.startswith("#"):
            continue
        negated = line.startswith("!")
        line = line.removeprefix("!").removeprefix("\\")
        directories_only = line.endswith("/")
        line = line.rstrip("/")
        rooted = anchored or "/" in line
        body = expression(line.lstrip("/").removeprefix("./"), GIT)
        compiled.append((re.compile(body if rooted else f"(?:.*/)?{body}"), directories_only, negated))
    return compiled


def project_files(project_dir: Path) -> Iterator[str]:
    """Relative POSIX paths of the files that go into the function, sorted. Links are followed, loops are not."""
    lines = list(_own_rules(project_dir))
    yield from sorted(_walk(project_dir, "", [*rules(ALWAYS), *lines], {os.path.realpath(project_dir)}))


def ignored(path: str, *, directory: bool, by: Iterable[Rule]) -> bool:
    """Whether the last rule that matches a relative path leaves it out."""
    verdict = False
    for pattern, directories_only, negated in by:
        if (directory or not directories_only) and pattern.fullmatch(path):
            verdict = not negated
    return verdict


def _own_rules(project_dir: Path) -> list[Rule]:
    for name, anchored in ((".lambdaignore", False), (".dockerignore", True)):
        path = project_dir / name
        if path.is_file():
            return rules(path.read_text("utf-8", errors="replace").splitlines(), anchored=anchored)
    return []


def _walk(root: Path, below: str, by: list[Rule], seen: set[str]) -> Iterator[str]:
    with os.scandir(root / below) as entries:
        for entry in entries:
            path = f"{below}{entry.name}"
            if ignored(path, directory=entry.is_dir(), by=by):
                continue
            if entry.is_file():
                yield path
            elif entry.is_dir():
                real = os.path.realpath(entry.path)
                if real not in seen:
                    yield from _walk(root, f"{path}/", by, seen | {real})
