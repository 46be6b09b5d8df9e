from __future__ import annotations

import pytest

from preheat.profile import tree
from preheat.profile.launch import Watched
from preheat.profile.tree import Node

MS = 1_000_000


def raw(kind: int, name: str, parent: int, began: int, ended: int, **more: int) -> list[object]:
    amounts = [more.get("rss0", 0), more.get("rss1", 0), more.get("files", 0), more.get("bytes", 0)]
    return [kind, name, more.get("line", 0), parent, began * MS, ended * MS, *amounts, more.get("ok", 1)]


def watched(nodes: list[list[object]]) -> Watched:
    """Process until 10, watcher installed until 13, runtime until 30, init until 100 (ms)."""
    marks = {"started_ns": 10 * MS, "installed_ns": 13 * MS, "initialised_ns": 100 * MS, "resident": 0}
    return Watched(0, 30 * MS, {"marks": marks, "nodes": nodes}, [], 0)


NODES = [
    raw(0, "client", -1, 15, 25),
    raw(0, "app", -1, 31, 99, rss0=100, rss1=900),
    raw(2, "", 1, 32, 34),
    raw(1, "app", 1, 35, 95, line=2, rss0=100, rss1=700, files=1, bytes=7),
    raw(0, "pkg.sub", 3, 36, 90, rss0=100, rss1=600),
    raw(0, "pkg", 4, 37, 57, rss0=100, rss1=300, files=2, bytes=50),
    raw(3, "", 5, 40, 45),
    raw(0, "gone", 3, 91, 92, ok=0),
]


def test_own_times_add_up_and_the_watcher_and_collector_are_set_apart() -> None:
    root = tree.build(watched(NODES))
    process, runtime, handler, collector = root.children
    assert (process.ms, runtime.ms, runtime.self_ms, collector.ms) == (10, 17, 7, 5)
    assert handler.ms == pytest.approx(70 - 2 - 5)
    assert root.ms == pytest.approx(100 - 3 - 2)
    app = handler.children[0]
    statement = app.children[0]
    assert (app.self_ms, statement.self_ms) == (68 - 2 - 60, 60 - 54 - 1)
    assert (statement.kind, statement.line, statement.self_memory, statement.opened_bytes) == ("statement", 2, 100, 57)
    assert tree.handler_phase(root) is handler


def test_a_package_is_moved_before_what_is_in_it() -> None:
    statement = tree.build(watched(NODES)).children[2].children[0].children[0]
    assert [child.name for child in statement.children] == ["pkg", "pkg.sub", "gone"]
    assert [child.ms for child in statement.children] == [15, 34, 1]
    assert [child.failed for child in statement.children] == [False, False, True]


def test_average_is_node_by_node_and_a_missing_node_counts_as_nothing() -> None:
    one = Node("phase", "init", self_ms=1, children=[Node("import", "a", self_ms=4), Node("import", "a", self_ms=6)])
    two = Node("phase", "init", self_ms=3, children=[Node("import", "a", self_ms=8)])
    mean = tree.average([one, two])
    assert mean.self_ms == 2
    assert [child.self_ms for child in mean.children] == [6, 3]
    assert mean.ms == (one.ms + two.ms) / 2


def test_details_go_to_the_same_nodes() -> None:
    mean = tree.average([tree.build(watched(NODES))])
    tree.add_details(mean, tree.build(watched(NODES)), {"pkg": True, "pkg.sub": False})
    found = {node.name: node for node in mean.walk() if node.kind == "import"}
    assert (found["pkg"].used, found["pkg.sub"].used, found["gone"].used) == (True, False, None)
    assert (found["pkg"].self_memory, found["pkg"].self_opened) == (200, 2)
    assert found["app"].memory == 800
    document = tree.as_dict(mean)
    assert document["ms"] == 95
    assert document["children"][2]["children"][0]["children"][0]["line"] == 2
