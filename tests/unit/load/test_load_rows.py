from __future__ import annotations

import csv
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from preheat.load.rows import COLUMNS, Tail, encode


def row(**cells: object) -> bytes:
    defaults: dict[str, object] = {
        "user": 1,
        "connection": "reused",
        "response_ms": "12.500",
        "status": 200,
        "request_id": "id",
        "error": "",
    }
    return encode([{**defaults, **cells}.get(name, "") for name in COLUMNS])


@given(st.lists(st.text(), min_size=2))
def test_a_row_is_one_line_and_keeps_its_cells(cells: list[str]) -> None:
    line = encode(cells)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    (read,) = csv.reader(io.StringIO(line.decode("utf-8"), newline=""))
    flat = [" ".join(cell.encode("utf-8", errors="replace").decode().splitlines()) for cell in cells]
    assert read == flat


@given(st.data())
def test_a_tail_reads_whole_rows_wherever_the_file_ends(tmp_path_factory, data) -> None:  # type: ignore[no-untyped-def]
    rows = [row(user=1 + index % 3, error="bad, é" if index % 2 else "", request_id=index) for index in range(6)]
    whole = encode(COLUMNS) + b"".join(rows)
    path: Path = tmp_path_factory.mktemp("tail") / "requests.csv"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    tail = Tail(path)
    assert tail.read().requests == 0  # Locust has not made the file yet
    for cut in cuts:
        path.write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n") - 1
        assert tail.read().requests == max(0, complete)
    path.write_bytes(whole)
    tally = tail.read()
    assert (tally.requests, tally.failures, tally.users) == (6, 3, {"1", "2", "3"})
    assert tally.answered_ids == {"0", "1", "2", "3", "4", "5"}
    assert tally.response_ms == [12.5] * 6


def test_only_answers_of_the_function_are_expected_in_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    path.write_bytes(
        encode(COLUMNS)
        + row(status=200, request_id="a", connection="new")
        + row(status=403, request_id="b")
        + row(status=0, request_id="")
    )
    tally = Tail(path).read()
    assert tally.answered_ids == {"a"}
    assert tally.new_connections == 1
