import struct

from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.frames import whole_frames


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=6), st.data())
def test_chunks_do_not_matter(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(struct.pack("!IB", len(payload), kind) + payload for kind, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    buffer, found, start = bytearray(), [], 0
    for cut in [*cuts, len(stream)]:
        buffer += stream[start:cut]
        start = cut
        found += whole_frames(buffer)
    assert (found, buffer) == (frames, b"")
