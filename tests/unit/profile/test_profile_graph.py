"""What a statement alone brings in, held against the definition: remove it and see what is no longer reached."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from preheat.profile.graph import START, Edge, Point, exclusive, places

MODULES = "abcdef"


def reached(edges: list[Edge], without: Point | None = None) -> set[str]:
    """Modules that a start loads, if one module or statement does not exist."""
    found: set[str] = set()
    todo = [""]
    while todo:
        current = todo.pop()
        for module, line, targets in edges:
            if module == current and without not in ((module, line), (module, 0)):
                for target in targets:
                    if target not in found and (target, 0) != without:
                        found.add(target)
                        todo.append(target)
    return found


edge = st.tuples(
    st.sampled_from(MODULES), st.integers(1, 3), st.lists(st.sampled_from(MODULES), min_size=1, max_size=3)
)


@given(st.lists(st.sampled_from(MODULES), max_size=2), st.lists(edge, max_size=12))
def test_it_is_what_would_not_be_loaded_without(first: list[str], rest: list[Edge]) -> None:
    edges: list[Edge] = [("", 0, first), *rest]
    brings = exclusive(edges)
    every = reached(edges)
    points = {(module, line) for module, line, _ in rest if module in every} | {(module, 0) for module in every}
    for point in points:
        assert brings.get(point, []) == sorted(every - reached(edges, point)), point
    assert brings.keys() <= points
    assert START not in brings


def test_what_two_import_belongs_to_neither() -> None:
    edges: list[Edge] = [("", 0, ["app"]), ("app", 1, ["one"]), ("app", 2, ["two", "own"])]
    edges += [("one", 5, ["both"]), ("two", 6, ["both"])]
    brings = exclusive(edges)
    assert brings["app", 1] == ["one"]
    assert brings["app", 2] == ["own", "two"]
    assert brings["app", 0] == ["app", "both", "one", "own", "two"]
    assert ("one", 5) not in brings


def test_places_are_the_statements_that_ask() -> None:
    edges: list[Edge] = [("", 0, ["a"]), ("a", 3, ["b", "a"]), ("c", 7, ["b"])]
    assert places(edges) == {"b": [("a", 3), ("c", 7)]}
