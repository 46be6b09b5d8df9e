"""The journal read on from a position, as the metrics read it: whole lines once each, whatever the chunks."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.execution import journal as journal_module
from preheat.execution.journal import Journal

Position = tuple[int, int]


def files(directory: Path, contents: dict[int, bytes]) -> Journal:
    journal = Journal(directory)
    for number, content in contents.items():
        (directory / f"{number}.jsonl").write_bytes(content)
    return journal


def read(journal: Journal, start: Position = (0, 0), stop: Position | None = None) -> tuple[bytes, Position]:
    """(all lines, the position behind them)."""
    lines, behind = b"", start
    for chunk, segment, offset in journal.chunks(*start, stop):
        lines, behind = lines + chunk, (segment, offset)
    return lines, behind


def test_reading_goes_on_behind_what_was_read(tmp_path: Path) -> None:
    journal = files(tmp_path, {1: b"a\nb\n", 2: b"c\ntorn"})
    assert read(journal) == (b"a\nb\nc\n", (2, 2))
    assert read(journal, (2, 2)) == (b"", (2, 2))
    with (tmp_path / "2.jsonl").open("ab") as segment:
        segment.write(b" no more\n")
    assert read(journal, (2, 2)) == (b"torn no more\n", (2, 15))
    assert read(journal, (1, 2), stop=(2, 2)) == (b"b\nc\n", (2, 2))
    (tmp_path / "1.jsonl").unlink()
    assert read(journal, (1, 2)) == (b"c\ntorn no more\n", (2, 15))


def test_the_segment_of_a_time(tmp_path: Path) -> None:
    assert Journal(tmp_path / "empty").segment_at(5.0) == 0
    journal = files(tmp_path, {10: b"", 20: b""})
    assert [journal.segment_at(at_ms) for at_ms in (5.0, 10.0, 19.9, 20.0, 99.0)] == [10, 10, 10, 20, 20]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=30), st.integers(32, 64))
def test_no_chunk_size_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], chunk_bytes: int
) -> None:
    content = b"".join(b"x" * length + b"\n" for length in lengths)
    half = content.rfind(b"\n", 0, len(content) // 2) + 1
    journal = files(tmp_path_factory.mktemp("journal"), {1: content[:half], 2: content[half:]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "_CHUNK_BYTES", chunk_bytes)
        lines, behind = read(journal)
    assert lines == content
    assert read(journal, behind)[0] == b""
