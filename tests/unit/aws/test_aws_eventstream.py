"""The event stream encoding, read back by botocore's own parser."""

from __future__ import annotations

import json

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from preheat.aws.eventstream import message, writer
from preheat.aws.model import load_service

NAMES = st.text("abcdefghijklmnop:-", min_size=1, max_size=40)


@given(st.dictionaries(NAMES, st.text(max_size=200), max_size=5), st.binary(max_size=2000), st.integers(1, 50))
def test_botocore_reads_what_is_written_however_it_is_cut(headers: dict[str, str], payload: bytes, cut: int) -> None:
    data = message(headers, payload) * 2
    buffer = EventStreamBuffer()
    events = []
    for at in range(0, len(data), cut):
        buffer.add_data(data[at : at + cut])
        events += list(buffer)
    assert [(event.headers, event.payload) for event in events] == [(headers, payload)] * 2


def test_events_of_a_response_stream() -> None:
    output = load_service("lambda").operations["InvokeWithResponseStream"].output
    assert output is not None
    write = writer(output.members["EventStream"], {})
    buffer = EventStreamBuffer()
    buffer.add_data(write([{"PayloadChunk": {"Payload": b"\x00abc"}}, {"InvokeComplete": {"ErrorCode": "Unhandled"}}]))
    chunk, complete = list(buffer)
    assert (chunk.headers[":event-type"], chunk.payload) == ("PayloadChunk", b"\x00abc")
    assert (complete.headers[":event-type"], json.loads(complete.payload)) == (
        "InvokeComplete",
        {"ErrorCode": "Unhandled"},
    )
    assert complete.headers[":message-type"] == "event"
