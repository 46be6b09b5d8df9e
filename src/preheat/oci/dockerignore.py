"""Which files of a build context take part: `.dockerignore` and the globs of COPY (docs.docker.com: Build context)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from preheat.kernel.globs import DOCKER, expression

Rule = tuple[re.Pattern[str], bool]
"""(pattern of a path or of a directory above it, brings back)"""


def rules(text: str) -> list[Rule]:
    """Compile a .dockerignore: patterns from the context's root, the last that matches decides."""
    compiled: list[Rule] = []
    for raw in text.removeprefix("\ufeff").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        back = line.startswith("!")
        path = os.path.normpath(line.removeprefix("!").strip()).lstrip("/")
        if path not in (".", ""):
            compiled.append((re.compile(expression(path, DOCKER) + r"(?:/.*)?"), back))
    return compiled


def ignored(path: str, by: list[Rule]) -> bool:
    """Whether a path, relative to the context and with "/" between, is left out."""
    verdict = False
    for pattern, back in by:
        if pattern.fullmatch(path):
            verdict = not back
    return verdict


class Context:
    """The files that a build may copy: a directory without what its .dockerignore leaves out."""

    def __init__(self, root: Path, dockerfile: Path | None = None) -> None:
        self.root = root.resolve()
        own = dockerfile.with_name(f"{dockerfile.name}.dockerignore") if dockerfile is not None else None
        path = own if own is not None and own.is_file() else self.root / ".dockerignore"
        self._rules = rules(path.read_text("utf-8", errors="replace")) if path.is_file() else []

    def matching(self, pattern: str) -> list[str]:
        """Relative paths of what a source of COPY means, sorted; "" is the context itself. Raises ValueError for
        a source outside the context."""
        path = os.path.normpath(pattern.lstrip("/") or ".")
        if path == ".":
            return [""]
        if path.split("/")[0] == "..":
            raise ValueError(f"{pattern} is outside the build context")
        if not re.search(r"[*?\[\\]", path):
            return [path] if self._there(path) else []
        wanted = re.compile(expression(path, DOCKER))
        depth = None if "**" in path else path.count("/")
        return sorted(found for found in self._walk("", depth) if wanted.fullmatch(found))

    def below(self, path: str) -> Iterator[str]:
        """Relative paths of everything in a directory, parents first, sorted."""
        return self._walk(f"{path}/" if path else "", None)

    def _there(self, path: str) -> bool:
        target = self.root / path
        if not target.is_symlink() and not target.exists():
            return False
        if not target.resolve().is_relative_to(self.root):
            raise ValueError(f"{path} leads outside the build context")
        return not ignored(path, self._rules) or (target.is_dir() and next(self.below(path), None) is not None)

    def _walk(self, prefix: str, depth: int | None) -> Iterator[str]:
        with os.scandir(self.root / prefix) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{prefix}{entry.name}"
            is_directory = entry.is_dir(follow_symlinks=False)
            left_out = ignored(path, self._rules)
            below = self._walk(f"{path}/", depth) if is_directory and (depth is None or path.count("/") < depth) else ()
            if not left_out:
                yield path
                yield from below
            elif any(back for _, back in self._rules):
                inside = list(below)  # a rule may bring back what is in a directory left out
                if inside:
                    yield path
                    yield from inside
