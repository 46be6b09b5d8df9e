"""Whatever the pipe's chunks, the events are the same."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from preheat.execution.output import EVENT_MAX_BYTES, OutputParser

NOW = 1_700_000_000_000


def frame(message: bytes, at_ms: int = NOW, kind: int = 0xA55A0003) -> bytes:
    return struct.pack("!IIQ", kind, len(message), at_ms * 1000) + message


def events(data: bytes, cuts: list[int] | None = None) -> list[str]:
    parser = OutputParser()
    found, start = [], 0
    for cut in [*sorted(cuts or []), len(data)]:
        found += parser.feed(data[start:cut], NOW)
        start = max(start, cut)
    found += parser.flush(NOW)
    return [message for _, message in found]


def test_lines_and_frames_keep_their_order() -> None:
    data = b"one\n" + frame(b"framed\nwith lines\n") + b"two\nhalf"
    assert events(data) == ["one\n", "framed\nwith lines\n", "two\n", "half"]


def test_a_frame_in_the_middle_of_a_line_ends_it() -> None:
    assert events(b"no end" + frame(b"f") + b"rest\n") == ["no end", "f", "rest\n"]


def test_carriage_returns_stay_inside_an_event() -> None:
    assert events(b"10%\r20%\rdone\r\nnext\n") == ["10%\r20%\rdone\r\n", "next\n"]


def test_invalid_utf8_is_replaced_not_lost() -> None:
    assert events(b"\xff\xfe ok\n") == ["�� ok\n"]


def test_a_frame_takes_its_own_time() -> None:
    parser = OutputParser()
    assert parser.feed(frame(b"m", at_ms=NOW - 5), NOW) == [(NOW - 5, "m")]


def test_a_frame_that_lies_about_its_length_swallows_nothing() -> None:
    bogus = struct.pack("!IIQ", 0xA55A0003, 2**31, 0)
    assert "after\n" in events(bogus + b"\nafter\n")
    assert "".join(events(frame(b"x" * 50)[:30])).endswith("x" * 14)


def test_a_long_line_is_cut_and_memory_stays_bounded() -> None:
    found = events(b"x" * (3 * EVENT_MAX_BYTES) + b"\n")
    assert "".join(found) == "x" * (3 * EVENT_MAX_BYTES) + "\n"
    assert max(map(len, found)) <= EVENT_MAX_BYTES


pieces = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=12).map(
            lambda text: text.encode() + b"\n"
        ),
        st.binary(max_size=12).map(frame),
    ),
    max_size=8,
)


@given(pieces, st.data())
def test_chunks_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    assert events(whole, cuts) == events(whole)
    assert len(events(whole)) == len(parts)


def test_text_before_a_frame_is_no_younger_than_the_frame() -> None:
    parser = OutputParser()
    found = parser.feed(b"one\n" + frame(b"framed", NOW - 5) + b"two\n" + frame(b"framed too", NOW + 9), NOW)
    assert found == [(NOW - 5, "one\n"), (NOW - 5, "framed"), (NOW, "two\n"), (NOW, "framed too")]
