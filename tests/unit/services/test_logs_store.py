"""The event files: what was put is there after a crash, in order of time, whatever was put."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.services.logs import store as store_module
from preheat.services.logs.store import LogStore
from preheat.services.logs.stream import LogStream

GROUP = "/aws/lambda/iris"


def messages(store: LogStore, stream: str, group: str = GROUP) -> list[str]:
    opened = store.readable(store.stream(group, stream))
    return [opened.read(place).message for place in range(len(opened))]


def test_put_makes_what_is_missing_and_keeps_the_order(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(1, "one\n"), (2, "two\r\n")])
    store.put(GROUP, "s", [(3, "thr\tee"), (3, "four")])
    store.put(GROUP, "s", [])
    assert messages(store, "s") == ["one\n", "two\r\n", "thr\tee", "four"]
    store.create_stream(GROUP, "s")
    assert messages(store, "s") == ["one\n", "two\r\n", "thr\tee", "four"]


def test_events_come_out_in_order_of_time_those_of_one_millisecond_as_they_came(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(5, "a"), (7, "b")])
    assert messages(store, "s") == ["a", "b"]
    store.put(GROUP, "s", [(6, "c"), (5, "d"), (7, "e")])
    assert messages(store, "s") == ["a", "d", "c", "b", "e"]
    stream = store.readable(store.stream(GROUP, "s"))
    assert stream.between(6, 7) == (2, 3)
    assert stream.between(None, 5) == (0, 0)
    assert stream.between(8, None) == (5, 5)
    assert stream.between(7, 5) == (3, 3)
    keys = [stream.key(place) for place in range(5)]
    assert keys == sorted(keys)
    assert [stream.first_from(key) for key in keys] == [0, 1, 2, 3, 4]
    assert [stream.first_after(key) for key in keys] == [1, 2, 3, 4, 5]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(1, "one")])
    store.add_group("other", "INFREQUENT_ACCESS", {"a": "b"})
    store.set_retention("other", 7)
    store.close()
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(2, "two")])
    assert messages(store, "s") == ["one", "two"]
    other = store.group("other")
    assert (other.log_class, other.tags, other.retention_days) == ("INFREQUENT_ACCESS", {"a": "b"}, 7)


def test_the_size_of_a_group_is_known_without_reading_its_streams(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "full", [(1, "one"), (2, "two")])
    store.create_stream(GROUP, "empty")
    written = store.stored_bytes(store.group(GROUP))
    store.close()
    again = LogStore(tmp_path)
    assert again.stored_bytes(again.group(GROUP)) == written == _bytes_of(again)
    assert all(stream.fd < 0 and not len(stream) for stream in again.group(GROUP).streams.values())


def _bytes_of(store: LogStore) -> int:
    return sum(path.stat().st_size for _, path in store.files() if path.exists())


def test_what_put_returned_from_survives_kill_9(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom preheat.services.logs.store import LogStore\n"
        "store = LogStore(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    store.put('g', 's', [(number, f'event {number}'), (number, 'x' * 3000)])\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 200:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found = messages(LogStore(tmp_path), "s", "g")
    assert acknowledged >= 200
    assert len(found) >= 2 * (acknowledged + 1)
    assert found[: 2 * (acknowledged + 1) : 2] == [f"event {number}" for number in range(acknowledged + 1)]


@pytest.mark.parametrize("torn", [b"[3,3,", b'[3,3,"half a mess', b"x" * 9_000_000])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(1, "one"), (2, "two")])
    path = store.stream(GROUP, "s").path
    store.close()
    with path.open("ab") as file:
        file.write(torn)
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(4, "four")])
    assert messages(store, "s") == ["one", "two", "four"]
    assert path.read_bytes().count(b"\n") == 3


def test_a_full_disk_raises_and_leaves_only_whole_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(1, "one")])
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[:9]))
        with pytest.raises(OSError, match="No space") as failure:
            store.put(GROUP, "s", [(2, "never whole")])
    assert failure.value.errno == errno.ENOSPC
    store.put(GROUP, "s", [(3, "three")])
    assert messages(store, "s") == ["one", "three"]


def test_an_event_is_capped_at_the_limit_and_odd_characters_do_no_harm(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    limit = 1_048_576 - 26
    store.put(GROUP, "s", [(1, "x" * limit), (2, "y" * (limit + 1)), (3, "é" * limit), (4, "\udc80 \x00 \u2028")])
    exact, cut, accents, odd = messages(store, "s")
    assert exact == "x" * limit
    assert cut == "y" * limit
    assert accents == "é" * (limit // 2)
    assert odd == "? \x00 \u2028"


def test_more_streams_than_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_OPEN_FILES", 4)
    store = LogStore(tmp_path)
    for turn in range(3):
        for number in range(9):
            store.put(GROUP, f"s{number}", [(turn, f"{number}.{turn}")])
    streams = [store.stream(GROUP, f"s{number}") for number in range(9)]
    assert sum(stream.fd >= 0 for stream in streams) == 4
    assert [messages(store, f"s{number}") for number in range(9)] == [
        [f"{number}.{turn}" for turn in range(3)] for number in range(9)
    ]


def test_deleting_removes_files_and_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(1, "one")])
    store.put(GROUP, "t", [(1, "one")])
    store.put("other", "s", [(1, "one")])
    store.delete_stream(GROUP, "s")
    store.delete_group("other")
    kept = store.stream(GROUP, "t").path
    store.close()
    (tmp_path / "logs" / "999").mkdir()
    (kept.parent / "888.jsonl").write_text('[1,1,"nobody\'s"]\n')
    LogStore(tmp_path)
    assert [path for path in (tmp_path / "logs").rglob("*") if path.is_file()] == [kept]
    assert not (tmp_path / "logs" / "999").exists()


def test_put_after_the_group_was_deleted_makes_it_again(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.put(GROUP, "s", [(1, "one")])
    store.delete_group(GROUP)
    store.put(GROUP, "s", [(2, "two")])
    assert messages(store, "s") == ["two"]


def test_putting_events_is_one_write_and_nothing_else_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes it cheap: under 10 microseconds on the machines we know."""
    store, asked = LogStore(tmp_path), []
    events = [(1, "START RequestId: x\n"), (1, "END RequestId: x\n"), (1, "REPORT " + "x" * 150)]
    store.put(GROUP, "s", events)
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        asked.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    for name in ("open", "fsync", "fstat", "ftruncate"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("no other call is needed"))
    store.put(GROUP, "s", events)
    monkeypatch.undo()
    assert len(asked) == 1
    assert messages(store, "s") == [message for _, message in events] * 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 50), st.text(max_size=20)), max_size=5), max_size=8), st.data())
def test_any_batches_read_back_sorted_however_often_one_reads(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, str]]], data: st.DataObject
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs"))
    store.create_stream(GROUP, "s")
    put: list[tuple[int, str]] = []
    for batch in batches:
        store.put(GROUP, "s", batch)
        put += batch
        if data.draw(st.booleans()):
            stream: LogStream = store.readable(store.stream(GROUP, "s"))
            read = [stream.read(place) for place in range(len(stream))]
            expected = sorted(put, key=lambda event: event[0])
            assert [(event.timestamp_ms, event.message) for event in read] == expected
    store.close()
