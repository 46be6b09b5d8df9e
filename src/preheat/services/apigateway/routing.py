"""Which method of which resource serves a path: a tree compiled once per deployed stage.

Order (recorded by localstack's test_proxy_routing_with_hardcoded_resource_sibling, and the developer guide's
"greedy path variables"): at each step a literal part before `{param}` before `{proxy+}`, an exact HTTP method before
ANY, and a resource that lacks the method gives way to the next candidate. The cost depends on the path's length,
not on how many routes there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

ANY_COVERS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
"""What ANY stands for (API reference, PutMethod)."""

_R = TypeVar("_R")


class _Node(Generic[_R]):
    __slots__ = ("greedy", "literals", "methods", "param")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[_R]] = {}
        self.param: tuple[str, _Node[_R]] | None = None
        self.greedy: tuple[str, _Node[_R]] | None = None
        self.methods: dict[str, _R] = {}


class RouteTree(Generic[_R]):
    """`routes`: (resource path such as "/pets/{id}", HTTP method or ANY, what to return for it)."""

    def __init__(self, routes: Iterable[tuple[str, str, _R]]) -> None:
        self._root: _Node[_R] = _Node()
        self._static: dict[str, dict[str, _R]] = {}
        for path, method, route in routes:
            self._node(path).methods[method] = route
            if "{" not in path:
                self._static.setdefault(path.rstrip("/"), {})[method] = route

    def find(self, path: str, method: str) -> tuple[_R, dict[str, str]] | None:
        """The route for a path as sent (undecoded) and its path parameters; None where nothing serves it.

        Slashes at the path's ends are ignored (recorded: `//hardcoded` and `/test-path/` find their resources).
        """
        trimmed = "/" + path.strip("/")
        static = self._static.get(trimmed.rstrip("/"))
        if static is not None:
            route = _pick(static, method)
            if route is not None:
                return route, {}
        params: dict[str, str] = {}
        segments = trimmed[1:].split("/") if len(trimmed) > 1 else []
        route = _search(self._root, segments, 0, method, params)
        return None if route is None else (route, params)

    def _node(self, path: str) -> _Node[_R]:
        node = self._root
        for part in path.strip("/").split("/") if path != "/" else ():
            if part.endswith("+}"):
                node.greedy = node.greedy or (part[1:-2], _Node())
                node = node.greedy[1]
            elif part.startswith("{"):
                node.param = node.param or (part[1:-1], _Node())
                node = node.param[1]
            else:
                node = node.literals.setdefault(part, _Node())
        return node


def _pick(methods: dict[str, _R], method: str) -> _R | None:
    route = methods.get(method)
    if route is None and method in ANY_COVERS:
        route = methods.get("ANY")
    return route


def _search(node: _Node[_R], segments: list[str], at: int, method: str, params: dict[str, str]) -> _R | None:
    """Depth first; no deeper than the tree, however long the path. `params` holds the winner's on success."""
    if at == len(segments):
        return _pick(node.methods, method)
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        route = _search(literal, segments, at + 1, method, params)
        if route is not None:
            return route
    if node.param is not None and segment:
        name, child = node.param
        route = _search(child, segments, at + 1, method, params)
        if route is not None:
            params[name] = segment
            return route
    if node.greedy is not None:
        name, child = node.greedy
        route = _pick(child.methods, method)
        if route is not None:
            params[name] = "/".join(segments[at:])
            return route
    return None
