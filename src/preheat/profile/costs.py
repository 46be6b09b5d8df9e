"""Which imports nothing used yet, and what running one later would spare init."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preheat.profile import graph, tree
from preheat.profile.graph import Point
from preheat.profile.launch import Program
from preheat.profile.tree import Node

LEAST_MS = 1.0
LEAST_SHARE = 0.005
"""What costs less than both of these is noise: not listed."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of source: `file` as people name it, `text` "" where there is no source."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What goes when one thing does: `modules` are loaded only because of it, `ms` is their own time together."""

    modules: Sequence[str]
    ms: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Unused:
    """A module of which, as of all that only it brings in, neither the handler module's own statements nor the
    first invocations used anything."""

    module: str
    cost: Cost
    places: Sequence[Place]
    """Every statement that asks for it, from outside of it: all must go, or run later, for the cost to go."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the function's own code and what it alone brings in."""

    place: Place
    cost: Cost
    used: str
    """Who uses any of it first: "init" (the handler module's own statements: it cannot run later), "invocation"
    (running it later moves its cost into the first request) or "nothing" (running it later saves its cost)."""

    @property
    def is_import(self) -> bool:
        return self.place.text.startswith(("import ", "from "))


@dataclass(frozen=True, slots=True)
class Costs:
    """Both lists costly first."""

    unused: Sequence[Unused]
    """Only the outermost: what an unused module brings in is not listed again."""
    statements: Sequence[Statement]


def weigh(program: Program, root: Node, result: Mapping[str, Any]) -> Costs:
    """`root` is the averaged tree, `result` the detailed start's (preheat_usage): edges, used, modules."""
    scales = _Scales(tree.handler_phase(root))
    at_init = with_packages([*result["used_at_init"], program.handler_module])
    at_work = with_packages(result["used"])
    origins: Mapping[str, str | None] = result["modules"]
    brings = graph.exclusive(result["edges"])
    asked = graph.places(result["edges"])
    installed = installed_names(program.code_dir)
    unused, statements = [], []
    for point, modules in brings.items():
        cost = scales.cost(modules)
        module, line = point
        if cost.ms < max(LEAST_MS, LEAST_SHARE * root.ms):
            continue
        if line and is_own(origins.get(module), program.code_dir, installed):
            place = _place(point, origins, program.code_dir)
            user = "init" if at_init & {*modules} else "invocation" if at_work & {*modules} else "nothing"
            statements.append(Statement(place, cost, user))
        elif not line and (at_init | at_work).isdisjoint(modules):
            outside = [asking for asking in asked.get(module, ()) if asking[0] not in modules]
            places = [_place(asking, origins, program.code_dir) for asking in outside]
            unused.append(Unused(module, cost, places))
    inside = {name for found in unused for name in found.cost.modules if name != found.module}
    outermost = [found for found in unused if found.module not in inside]
    return Costs(
        sorted(outermost, key=lambda found: -found.cost.ms), sorted(statements, key=lambda found: -found.cost.ms)
    )


def with_packages(names: Iterable[str]) -> set[str]:
    """The modules and the packages they are in: who uses a.b needs a."""
    found = set()
    for name in names:
        while name:
            found.add(name)
            name = name.rpartition(".")[0]
    return found


class _Scales:
    """Own time and memory of every module that the function brought in. What the runtime had loaded before is
    there whatever the function does, and weighs nothing."""

    def __init__(self, handler: Node) -> None:
        self._ms: dict[str, float] = {}
        self._memory: dict[str, int] = {}
        for node in handler.walk():
            if node.kind == "import" and not node.failed:
                self._ms[node.name] = self._ms.get(node.name, 0.0) + node.self_ms
                self._memory[node.name] = self._memory.get(node.name, 0) + node.self_memory

    def cost(self, modules: Sequence[str]) -> Cost:
        loaded = [name for name in modules if name in self._ms]
        return Cost(loaded, sum(self._ms[name] for name in loaded), sum(self._memory[name] for name in loaded))


def installed_names(code_dir: Path) -> set[str]:
    """The first part of every path that an installed package's RECORD lists (packaging.python.org, "Recording
    installed projects")."""
    names = set()
    for record in code_dir.glob("*.dist-info/RECORD"):
        for row in record.read_text("utf-8", errors="replace").splitlines():
            names.add(row.partition(",")[0].strip('"').partition("/")[0])
    return names


def is_own(origin: str | None, code_dir: Path, installed: set[str]) -> bool:
    """Whether a module's file is the function's own: in its code and not of an installed package."""
    if origin is None or not Path(origin).is_relative_to(code_dir):
        return False
    return Path(origin).relative_to(code_dir).parts[0] not in installed


def _place(point: Point, origins: Mapping[str, str | None], code_dir: Path) -> Place:
    module, line = point
    origin = origins.get(module)
    if origin is None:
        return Place(module, line, "")
    path = Path(origin)
    name = path.relative_to(code_dir).as_posix() if path.is_relative_to(code_dir) else "/".join(path.parts[-2:])
    return Place(name, line, _source_line(path, line))


def _source_line(path: Path, line: int) -> str:
    if path.suffix != ".py":
        return ""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""
