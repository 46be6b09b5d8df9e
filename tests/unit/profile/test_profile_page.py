"""What a profile leaves behind, and its words."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from preheat.profile import flame, page, words
from preheat.profile.costs import Cost, Costs, Place, Statement, Unused
from preheat.profile.launch import Program
from preheat.profile.study import Profile
from preheat.profile.tree import Node

EVIL = "import evil  # <script>alert(1)</script>"


def sample() -> Profile:
    used = Node("import", "good.part", self_ms=30, self_memory=3 << 20, used=True)
    unused = Node("import", "evil", self_ms=10, used=False, children=[Node("import", "tiny", self_ms=0.01)])
    statements = [
        Node("statement", "app", line=1, children=[used]),
        Node("statement", "app", line=2, self_ms=1, children=[unused]),
    ]
    module = Node("import", "app", self_ms=1, used=True, children=statements)
    handler = Node("phase", "handler", children=[module])
    phases = [Node("phase", "process", self_ms=40), Node("phase", "runtime", self_ms=10), handler]
    root = Node("phase", "init", children=[*phases, Node("phase", "collector", self_ms=8)])
    cost = Cost(["evil", "tiny"], 10.01, 1 << 20)
    return Profile(
        program=Program(Path("/p"), Path("/g"), Path("/r"), Path("/task"), "app.handler", {}),
        plain_ms=[98.0, 100.0, 130.0],
        watched_ms=[100.0, 100.02, 140.0],
        root=root,
        costs=Costs(
            [Unused("evil", cost, [Place("app.py", 2, EVIL), Place("b.py", 9, "import evil")])],
            [Statement(Place("app.py", 2, EVIL), cost, "nothing"), Statement(Place("app.py", 3, "f()"), cost, "init")],
        ),
        sources={"app": f"import good.part\n{EVIL}\n"},
        files=[("/task/evil/data.bin", 2, 5 << 20)],
        invocations=3,
        answers=["{}"],
        resident_bytes=50 << 20,
        warnings=["the machine was <busy>"],
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.buttons: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "button":
            self.buttons.append(dict(attrs))


def test_children_lie_inside_their_parents_side_by_side() -> None:
    found = flame.boxes(sample().root)
    assert (found[0].depth, found[0].left, found[0].width) == (0, 0, 1)
    for depth in range(1, 5):
        row = [box for box in found if box.depth == depth]
        for before, after in itertools.pairwise(row):
            assert before.left + before.width <= after.left + 1e-9
        above = [box for box in found if box.depth == depth - 1]
        for box in row:
            holds = [a for a in above if a.left - 1e-9 <= box.left and box.left + box.width <= a.left + a.width + 1e-9]
            assert holds, box.node.name
    assert "tiny" not in [box.node.name for box in found]  # narrower than a pixel


def test_colours_say_who_used_what() -> None:
    colours = {(box.node.kind, box.node.name, box.node.line): box.colour for box in flame.boxes(sample().root)}
    assert colours["import", "good.part", 0] == "used"
    assert colours["import", "evil", 0] == "unused"
    assert colours["statement", "app", 2] == "statement"
    assert colours["phase", "collector", 0] == "phase"


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (40, "scipy.stats._distn  12.3 ms"),
        (20, "scipy.stats._distn"),
        (8, "._distn"),
        (6, "_distn"),
        (5, "_dis…"),
        (2, ""),
    ],
)
def test_a_box_says_as_much_as_it_has_room_for(room: int, text: str) -> None:
    node = Node("import", "scipy.stats._distn", self_ms=12.3)
    assert flame.fitting(node.name, node, room) == text


def test_three_files_are_written(tmp_path: Path) -> None:
    paths = page.write(sample(), "small", tmp_path / "out")
    assert [path.name for path in paths] == ["profile.json", "profile.html", "flame.png"]
    document = json.loads(paths[0].read_text("utf-8"))
    assert (document["schema"], document["name"], document["init_ms"]) == (1, "small", 99.0)
    assert document["profile_ms"] == pytest.approx(100.01)
    assert document["unused"][0]["module"] == "evil"
    assert document["statements"][1]["used"] == "init"
    picture = paths[2].read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") > 1000


def test_the_page_is_whole_by_itself_and_escapes_the_functions_text() -> None:
    text = page.render(sample(), "small")
    parser = Tags()
    parser.feed(text)
    assert parser.tags.count("script") == 1
    assert "<script>alert" not in text
    assert "the machine was &lt;busy&gt;" in text
    assert not re.search(r'(?:src|href)="|url\(|@import', text)
    boxes = flame.boxes(sample().root)
    assert len(parser.buttons) == len(boxes)
    assert [float(button["data-w"] or 0) for button in parser.buttons] == pytest.approx(
        [box.width for box in boxes], abs=1e-6
    )
    assert "evil/data.bin" in text
    assert "/task/" not in text


def test_the_account_says_it_all() -> None:
    text = "\n".join(words.account(sample()))
    assert "init 99.0 ms as it is, 100 ms as the sum of this profile (+1.0%): quiet half of 3 starts each" in text
    assert "50.0 MB resident after init" in text
    assert re.search(r"40\.0 ms +40\.0% +start of the process and of Python", text)
    assert re.search(r"30\.0 ms +30\.0 ms +3\.0 MB +good\.part\n", text)
    assert f"line 2: {EVIL}" in text
    assert "evil  (not used)" in text
    assert "evil  (app.py:2 and 1 more)" in text
    assert "nothing used it: run later, it is saved" in text
    assert "no import itself" in text
    assert text.endswith("warning: the machine was <busy>")
