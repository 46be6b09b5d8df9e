"""The journal: what was written is read back, in order, whatever happened to the file in between."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from preheat.execution import journal
from preheat.execution.journal import Journal
from preheat.kernel.events import EnvironmentStopped, Throttled


def stopped(number: int, function: str = "fn", at_ms: float | None = None) -> EnvironmentStopped:
    return EnvironmentStopped(float(number) if at_ms is None else at_ms, f"e{number}", function, "expired", number)


def served(lines: Any) -> list[int]:
    return [json.loads(line)["served"] for line in lines]


def test_a_record_is_one_line_of_json_with_its_type(tmp_path: Path) -> None:
    kept = Journal(tmp_path)
    kept.write(stopped(3))
    kept.write(Throttled(4.5, "id", None, "fn", "ConcurrentInvocationLimitExceeded"))
    first, second = kept.read()
    assert first.endswith(b"\n")
    expected = {"type": "environment_stopped", "at_ms": 3.0, "environment": "e3"}
    assert json.loads(first) == {**expected, "function": "fn", "reason": "expired", "served": 3}
    assert (json.loads(second)["type"], json.loads(second)["gateway_request_id"]) == ("throttle", None)


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    assert list(Journal(tmp_path / "new").read()) == []


def test_reading_by_time_and_function(tmp_path: Path) -> None:
    kept = Journal(tmp_path)
    for number in range(6):
        kept.write(stopped(number, "even" if number % 2 == 0 else "odd"))
    assert served(kept.read(since_ms=3)) == [3, 4, 5]
    assert served(kept.read(function="even")) == [0, 2, 4]
    assert served(kept.read(2.5, "even")) == [4]
    assert served(kept.read(function="none")) == []


def test_a_later_journal_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.write(stopped(1))
    first.close()
    second = Journal(tmp_path)
    second.write(stopped(2))
    assert served(second.read()) == [1, 2]
    second.close()
    second.close()
    second.write(stopped(3))  # a closed journal opens again: a late record is not lost
    assert served(second.read()) == [1, 2, 3]


def test_a_line_torn_by_a_crash_is_left_out(tmp_path: Path) -> None:
    kept = Journal(tmp_path)
    kept.write(stopped(1))
    kept.close()
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"type":"environment_stopped","at_ms":2.0,"envi')
    again = Journal(tmp_path)
    again.write(stopped(3))
    assert served(again.read()) == [1, 3]


def test_a_line_that_is_no_record_is_left_out(tmp_path: Path) -> None:
    kept = Journal(tmp_path)
    kept.write(stopped(1))
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'nonsense\n\n{"at_ms": "late"}\n\xff\xfe\n')
    kept.write(stopped(2))
    assert served(kept.read()) == [1, 2]


def test_segments_rotate_in_order_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_SEGMENT_BYTES", 300)  # about three records
    monkeypatch.setattr(journal, "_SEGMENTS_MAX", 4)
    kept = Journal(tmp_path)
    for number in range(100):
        kept.write(stopped(number, at_ms=time.time() * 1000))
    segments = list(tmp_path.glob("*.jsonl"))
    assert 2 <= len(segments) <= 4
    assert all(segment.stat().st_size <= 300 for segment in segments)
    found = served(kept.read())
    assert found == list(range(100 - len(found), 100))
    assert len(found) >= 6


def test_segments_of_long_ago_are_not_searched(tmp_path: Path) -> None:
    """By their names: a record is written at most 900 s (the longest time-out) after it was received."""
    now_ms = time.time() * 1000
    for name_ms, number in ((1_000, 1), (2_000, 2), (int(now_ms), 3)):
        line = json.dumps({"at_ms": now_ms, "function": "fn", "served": number})
        (tmp_path / f"{name_ms}.jsonl").write_text(line + "\n")
    assert served(Journal(tmp_path).read(since_ms=now_ms - 1)) == [2, 3]
    assert served(Journal(tmp_path).read()) == [1, 2, 3]


def _write_until_killed(directory: Path) -> None:
    kept = Journal(directory)
    for number in range(10_000_000):
        kept.write(stopped(number))


def test_what_was_written_survives_sigkill(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(tmp_path,))
    writer.start()
    reader = Journal(tmp_path)
    deadline = time.monotonic() + 30
    while len(before := served(reader.read())) < 100:
        assert time.monotonic() < deadline
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(10)
    after = served(reader.read())
    assert after == list(range(len(after)))
    assert len(after) >= len(before)
