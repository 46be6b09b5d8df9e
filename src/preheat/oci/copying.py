"""COPY and ADD: which files go where, by Docker's rules (docs.docker.com, Dockerfile reference, "COPY")."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preheat.kernel.globs import DOCKER, expression
from preheat.oci.dockerfile import Instruction, substitute
from preheat.oci.dockerignore import Context
from preheat.oci.tree import Entry, Tree, TreeError, directory, entry_of, file, placed
from preheat.oci.unpack import unpack


@dataclass(frozen=True, slots=True)
class Source:
    """What one source means: `root` is a file or link, or the directory whose content is copied.

    `below` is that content, parents first, with paths relative to the directory.
    """

    name: str
    root: Entry
    below: tuple[Entry, ...] = ()


def from_context(context: Context, patterns: list[str]) -> list[Source]:
    """Raises ValueError for a source that is not there or outside the context."""
    found: list[Source] = []
    for pattern in patterns:
        paths = context.matching(pattern)
        if not paths:
            raise ValueError(f"{pattern}: no such file in the build context, or .dockerignore leaves it out")
        found += [_context_source(context, path) for path in paths]
    return found


def from_documents(instruction: Instruction, patterns: list[str], variables: Mapping[str, str]) -> list[Source]:
    """Files whose content the instruction itself has (`COPY <<name`); they are taken out of `patterns`."""
    found: list[Source] = []
    for document in instruction.documents:
        name = document.marker.lstrip("0123456789<-").strip("\"'")
        content = substitute(document.content, variables) if document.expand else document.content
        found.append(Source(name, file("", content.encode())))
        patterns.remove(document.marker.replace('"', "").replace("'", ""))
    return found


def from_tree(tree: Tree, patterns: list[str]) -> list[Source]:
    """From another stage or image. Raises ValueError for a source that is not there."""
    found: list[Source] = []
    for pattern in patterns:
        paths = _tree_matching(tree, posixpath.normpath("/" + pattern.lstrip("/")))
        if not paths:
            raise ValueError(f"{pattern}: no such file in the other stage")
        for path in paths:
            real = tree.resolve(path)
            root = tree.get(real) or directory(real.strip("/"))
            below = tuple(
                placed(entry, posixpath.relpath(f"/{entry.path}", real))
                for entry in (tree.walk(real) if root.kind == "directory" else ())
            )
            found.append(Source(posixpath.basename(path), root, below))
    return found


def placements(
    sources: list[Source],
    target: str,
    tree: Tree,
    *,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
) -> Iterator[Entry]:
    """The entries to add to `tree`. `target` is absolute; with "/" at its end it is a directory.

    Raises TreeError for several sources and a target that is a file.
    """
    many = len(sources) > 1
    resolved = tree.resolve(target)
    there = tree.get(resolved)
    into = target.endswith("/") or (there is not None and there.kind == "directory")
    if many and not into:
        raise TreeError(f"with several sources the destination {target} must be a directory and end with /")
    for source in sources:
        if source.root.kind == "directory":
            yield placed(directory(resolved), resolved, owner=owner)
            for entry in source.below:
                yield placed(entry, _joined(tree, resolved, entry.path), mode=mode, owner=owner)
        else:
            path = _joined(tree, resolved, source.name) if into else resolved
            yield placed(source.root, path, mode=mode, owner=owner)


def extracted(archive: Path, work: Path) -> Source | None:
    """The content of a local tar archive, which ADD unpacks; None where the file is none."""
    if not tarfile.is_tarfile(archive):
        return None
    with archive.open("rb") as file:
        unpack(file, work, flat=True)
    tree = Tree(work)
    return Source("", directory(""), tuple(tree.walk("/")))


def _context_source(context: Context, path: str) -> Source:
    real = context.root / path
    if real.is_dir() and not (real.is_symlink() and path):
        below = tuple(
            entry_of(posixpath.relpath(inside, path or "."), context.root / inside) for inside in context.below(path)
        )
        return Source(posixpath.basename(path), directory(""), below)
    target = real.resolve()  # a source that is a link is followed; `matching` has seen where it leads
    if target.is_dir():
        return _context_source(context, target.relative_to(context.root).as_posix())
    return Source(posixpath.basename(path), entry_of("", target))


def _tree_matching(tree: Tree, path: str) -> list[str]:
    if not re.search(r"[*?\[\\]", path):
        return [path] if tree.get(tree.resolve(path)) is not None else []
    wanted = re.compile(expression(path, DOCKER))
    fixed = posixpath.dirname(re.split(r"[*?\[\\]", path)[0])
    found = (f"/{entry.path}" for entry in tree.walk(tree.resolve(fixed)))
    return sorted(name for name in found if wanted.fullmatch(name))


def _joined(tree: Tree, folder: str, name: str) -> str:
    """A path below a directory, links that the image has on the way to it followed, the last part not."""
    inner = posixpath.dirname(name)
    above = tree.resolve(f"{folder}/{inner}") if inner else folder
    return posixpath.join(above, posixpath.basename(name))
