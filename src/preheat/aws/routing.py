"""Which operation a rest-json request means: method, path and query against the models' request URIs.

Paths are matched undecoded, segment by segment, so that an encoded slash stays inside its label. A literal
segment wins over a label, a label over a greedy `{label+}`; among equal paths the URI that demands more of
the query (`?List=ALL`) wins. (Smithy: http trait, "Path patterns" and specificity.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from preheat.aws.model import Operation

Labels = dict[str, str]


@dataclass(slots=True)
class _Leaf:
    operation: Operation
    labels: tuple[str, ...]
    query: tuple[tuple[str, str | None], ...]


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    label: _Node | None = None
    greedy: _Node | None = None
    leaves: dict[str, list[_Leaf]] = field(default_factory=dict)


class Router:
    """All request URIs of one service."""

    def __init__(self, operations: list[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def match(self, method: str, path: str, query: str) -> tuple[Operation, Labels] | None:
        """The operation and its decoded labels, or None. `path` and `query` are as sent."""
        for node, values in _walk(self._root, _segments(path), 0, ()):
            for leaf in node.leaves.get(method, ()):
                if not leaf.query or _satisfies(query, leaf.query):
                    return leaf.operation, dict(zip(leaf.labels, map(unquote, values), strict=True))
        return None

    def _add(self, operation: Operation) -> None:
        path, _, query = operation.uri.partition("?")
        node, labels = self._root, []
        for segment in _segments(path):
            if not (segment.startswith("{") and segment.endswith("}")):
                node = node.literals.setdefault(segment, _Node())
                continue
            labels.append(segment[1:-1].removesuffix("+"))
            if segment.endswith("+}"):
                node.greedy = node.greedy or _Node()
                node = node.greedy
            else:
                node.label = node.label or _Node()
                node = node.label
        leaves = node.leaves.setdefault(operation.method, [])
        leaves.append(_Leaf(operation, tuple(labels), _constraints(query)))
        leaves.sort(key=lambda leaf: -len(leaf.query))


def _segments(path: str) -> list[str]:
    """Without the slash at the end that older SDKs send (`/2015-03-31/functions/`)."""
    return path.strip("/").split("/")


def _constraints(query: str) -> tuple[tuple[str, str | None], ...]:
    pairs = []
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        pairs.append((name, value if equals else None))
    return tuple(pairs)


def _satisfies(query: str, constraints: tuple[tuple[str, str | None], ...]) -> bool:
    sent = dict(parse_qsl(query, keep_blank_values=True))
    return all(name in sent and (value is None or sent[name] == value) for name, value in constraints)


def _walk(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """Nodes that end this path, most literal first."""
    if at == len(segments):
        yield node, values
        return
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, at + 1, values)
    if node.label is not None and segment:
        yield from _walk(node.label, segments, at + 1, (*values, segment))
    if node.greedy is not None:
        for end in range(at + 1, len(segments) + 1):
            yield from _walk(node.greedy, segments, end, (*values, "/".join(segments[at:end])))
