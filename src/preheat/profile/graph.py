"""What each import statement alone brings in: the modules that would not be loaded without it.

The graph: a module leads to its statements (module, line), a statement to the modules it asks for, their
packages included. A statement alone is to blame for what it *dominates*: every way from the start to such a
module leads through it. Dominators: Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

START = ("", 0)
Point = tuple[str, int]
"""(module, line of a statement), (module, 0) for the module itself; START for the runtime."""

Edge = tuple[str, int, Sequence[str]]
"""(module, line, modules asked for), as `preheat_usage` writes them; module "" is the runtime."""


def exclusive(edges: Iterable[Edge]) -> dict[Point, list[str]]:
    """For each statement the modules that only it brings in, directly or through others, and for each module
    itself and what only it brings in. Statements that alone bring in none are left out."""
    dominator = _dominators(_graph(edges))
    children: defaultdict[Point, list[Point]] = defaultdict(list)
    for point, above in dominator.items():
        if point != START:
            children[above].append(point)
    below = {point: _modules_below(point, children) for point in dominator if point != START}
    return {point: modules for point, modules in below.items() if modules}


def places(edges: Iterable[Edge]) -> dict[str, list[Point]]:
    """For each module the statements that ask for it, in the order in which they first ran."""
    found: defaultdict[str, list[Point]] = defaultdict(list)
    for module, line, targets in edges:
        for target in targets:
            if line and target != module:
                found[target].append((module, line))
    return dict(found)


def _graph(edges: Iterable[Edge]) -> dict[Point, list[Point]]:
    graph: defaultdict[Point, dict[Point, None]] = defaultdict(dict)
    for module, line, targets in edges:
        source = (module, line) if module else START
        if module and line:
            graph[module, 0][source] = None
        for target in targets:
            if target != module:
                graph[source][target, 0] = None
    return {point: list(after) for point, after in graph.items()}


def _dominators(graph: Mapping[Point, Sequence[Point]]) -> dict[Point, Point]:
    order = _reverse_postorder(graph)
    number = {point: index for index, point in enumerate(order)}
    before: defaultdict[Point, list[Point]] = defaultdict(list)
    for point in order:
        for after in graph.get(point, ()):
            before[after].append(point)
    dominator = {START: START}
    changed = True
    while changed:
        changed = False
        for point in order[1:]:
            known = [other for other in before[point] if other in dominator]
            above = known[0]
            for other in known[1:]:
                above = _meet(above, other, dominator, number)
            if dominator.get(point) != above:
                dominator[point] = above
                changed = True
    return dominator


def _meet(one: Point, other: Point, dominator: Mapping[Point, Point], number: Mapping[Point, int]) -> Point:
    while one != other:
        while number[one] > number[other]:
            one = dominator[one]
        while number[other] > number[one]:
            other = dominator[other]
    return one


def _reverse_postorder(graph: Mapping[Point, Sequence[Point]]) -> list[Point]:
    """Points reachable from START, each before those it leads to except along loops."""
    done: list[Point] = []
    seen = {START}
    stack = [(START, iter(graph.get(START, ())))]
    while stack:
        point, rest = stack[-1]
        for after in rest:
            if after not in seen:
                seen.add(after)
                stack.append((after, iter(graph.get(after, ()))))
                break
        else:
            done.append(point)
            stack.pop()
    return done[::-1]


def _modules_below(point: Point, children: Mapping[Point, Sequence[Point]]) -> list[str]:
    """Of the point itself, if it is a module, and of all that it dominates."""
    modules, todo = [], [point]
    while todo:
        current = todo.pop()
        if not current[1]:
            modules.append(current[0])
        todo += children.get(current, ())
    return sorted(modules)
