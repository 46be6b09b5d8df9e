"""Init as a tree: phases, imports inside imports, and the handler module's statements, each with its own share.

Everything is kept as a node's own (self) amount; what a node costs with all below it is the sum. So shares
always add up to the whole, and trees of several starts can be averaged node by node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preheat.profile.launch import Watched

_KINDS = ("import", "statement", "watcher", "collector")
"""Of `preheat_profile.Recorder`'s nodes. The watcher's own work is taken out; the garbage collector's runs
strike whoever happens to be running, so they are a phase of their own."""


@dataclass(slots=True)
class Node:
    """`kind` is phase, import or statement; `line` is a statement's. `used`: by the first invocations, None if
    that cannot be said. Amounts are the node's own: milliseconds, bytes of resident memory, files, their bytes."""

    kind: str
    name: str
    line: int = 0
    self_ms: float = 0.0
    self_memory: int = 0
    self_opened: int = 0
    self_opened_bytes: int = 0
    failed: bool = False
    used: bool | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def ms(self) -> float:
        return self.self_ms + sum(child.ms for child in self.children)

    @property
    def memory(self) -> int:
        return self.self_memory + sum(child.memory for child in self.children)

    @property
    def opened(self) -> int:
        return self.self_opened + sum(child.opened for child in self.children)

    @property
    def opened_bytes(self) -> int:
        return self.self_opened_bytes + sum(child.opened_bytes for child in self.children)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def build(watched: Watched) -> Node:
    """The tree of one watched start, from before the process to init's end; the watcher's own time left out."""
    marks, raw = watched.result["marks"], watched.result["nodes"]
    limits = (watched.launched_ns, marks["started_ns"], watched.runtime_ready_ns, marks["initialised_ns"])
    names = ("process", "runtime", "handler")
    phases = [
        Node("phase", name, self_ms=(end - begin) / 1e6)
        for name, begin, end in zip(names, limits, limits[1:], strict=False)
    ]
    phases[1].self_ms -= (marks["installed_ns"] - marks["started_ns"]) / 1e6
    collector = Node("phase", "collector")
    nodes: list[Node] = []
    for kind, name, line, parent, began_ns, ended_ns, began_rss, ended_rss, opened, size, succeeded in raw:
        ms, memory = (ended_ns - began_ns) / 1e6, ended_rss - began_rss
        node = Node(_KINDS[kind], name, line, ms, memory, opened, size, failed=not succeeded)
        nodes.append(node)
        above = nodes[parent] if parent >= 0 else phases[1 if began_ns < watched.runtime_ready_ns else 2]
        above.self_ms -= ms
        above.self_memory -= memory if parent >= 0 else 0
        if node.kind == "collector":
            collector.self_ms += ms
        elif node.kind != "watcher":
            above.children.append(node)
    root = Node("phase", "init", children=[*phases, collector])
    _packages_first(root)
    return root


def _packages_first(node: Node) -> None:
    """Loading a.b loads a first: a stands before a.b then, not inside it."""
    for child in node.children:
        _packages_first(child)
    ordered: list[Node] = []
    for child in node.children:
        before = [inner for inner in child.children if child.name.startswith(inner.name + ".")]
        child.children = [inner for inner in child.children if inner not in before]
        ordered += [*before, child]
    node.children = ordered


def average(trees: Sequence[Node]) -> Node:
    """One tree whose own times are the means over trees; a node missing from some counts as 0 there."""
    first = trees[0]
    node = Node(first.kind, first.name, first.line, failed=first.failed)
    node.self_ms = sum(tree.self_ms for tree in trees) / len(trees)
    keyed = [_keyed(tree.children) for tree in trees]
    for key in dict.fromkeys(key for children in keyed for key in children):
        found = [children[key] for children in keyed if key in children]
        child = average(found)
        _scale(child, len(found) / len(trees))
        node.children.append(child)
    return node


def _scale(node: Node, share: float) -> None:
    if share != 1.0:
        for inner in node.walk():
            inner.self_ms *= share


_Key = tuple[str, str, int, int]


def _keyed(children: Sequence[Node]) -> dict[_Key, Node]:
    """By what a child is; the same thing a second time under one parent is another key."""
    seen: Counter[tuple[str, str, int]] = Counter()
    keyed: dict[_Key, Node] = {}
    for child in children:
        what = (child.kind, child.name, child.line)
        keyed[*what, seen[what]] = child
        seen[what] += 1
    return keyed


def add_details(node: Node, detailed: Node, used: Mapping[str, bool]) -> None:
    """Put the detailed start's memory and files, and what the invocations used, on the averaged tree."""
    node.self_memory = detailed.self_memory
    node.self_opened, node.self_opened_bytes = detailed.self_opened, detailed.self_opened_bytes
    if node.kind == "import":
        node.used = used.get(node.name)
    there = _keyed(detailed.children)
    for key, child in _keyed(node.children).items():
        if key in there:
            add_details(child, there[key], used)


def handler_phase(root: Node) -> Node:
    """The phase in which AWS's client imports the handler's module."""
    return root.children[2]


def as_dict(node: Node) -> dict[str, Any]:
    """The tree for JSON; `*_ms` and so on with everything below, `self_*` without."""
    return {
        "kind": node.kind,
        "name": node.name,
        "line": node.line or None,
        "ms": round(node.ms, 3),
        "self_ms": round(node.self_ms, 3),
        "memory_bytes": node.memory,
        "self_memory_bytes": node.self_memory,
        "files": node.opened,
        "file_bytes": node.opened_bytes,
        "failed": node.failed,
        "used": node.used,
        "children": [as_dict(child) for child in node.children],
    }
