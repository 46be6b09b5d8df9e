"""Properties of the front's edge: how bytes are cut never matters, and no bytes hang or crash it."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.net.connection import Front, HttpConnection
from preheat.net.contract import HttpLimits
from preheat.net.encoding import encode_response, refusal


class Wire:
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written += data

    def write_eof(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1)


def talk(pieces: list[bytes], body_bytes: int = 10_000) -> tuple[list[tuple[str, ...]], bytes, bool]:
    """(requests seen, bytes answered, closed?) after the pieces were received one by one."""
    seen: list[tuple[str, ...]] = []

    def handler(request: HttpRequest, respond: Any) -> None:
        seen.append((request.method, request.path, request.query, repr(request.headers), repr(request.body)))
        respond(HttpResponse(200, [], request.body))

    async def feed() -> tuple[list[tuple[str, ...]], bytes, bool]:
        wire = Wire()
        connection = HttpConnection(Front(handler, HttpLimits(body_bytes=body_bytes)))
        connection.connection_made(wire)  # type: ignore[arg-type]
        for piece in pieces:
            connection.data_received(piece)
        connection.connection_lost(None)
        return seen, re.sub(rb"Date: [^\r]*\r\n", b"", wire.written), wire.closed

    return asyncio.run(feed())


TOKEN = st.text("abcXYZ019-_", min_size=1, max_size=8)
BODY = st.binary(max_size=60)


@st.composite
def message(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]))
    path = "/" + draw(st.text("ab/%20.;=&?", max_size=12))
    headers = draw(st.lists(st.tuples(TOKEN, TOKEN), max_size=3))
    lines = [f"{method} {path} HTTP/1.1", "Host: h", *(f"X-{name}: {value}" for name, value in headers)]
    body = draw(BODY)
    if draw(st.booleans()):
        pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3))
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@settings(deadline=None, max_examples=150)
@given(st.lists(message(), min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=20))
def test_how_the_bytes_are_cut_never_matters(messages: list[bytes], places: list[int]) -> None:
    data = b"".join(messages)
    whole = talk([data])
    assert len(whole[0]) == len(messages)
    assert talk(cut(data, places)) == whole
    assert talk([bytes([byte]) for byte in data]) == whole


@settings(deadline=None, max_examples=300)
@given(
    st.lists(message(), max_size=2),
    st.one_of(st.binary(max_size=300), st.text("GETPOS /HTP1.:\r\n0aht", max_size=200).map(str.encode)),
    st.lists(st.integers(0, 10_000), max_size=10),
)
def test_random_bytes_after_good_requests_neither_crash_nor_disturb_them(
    messages: list[bytes], noise: bytes, places: list[int]
) -> None:
    good = talk([b"".join(messages)])
    seen, written, closed = talk(cut(b"".join(messages) + noise, places))
    assert seen[: len(messages)] == good[0]
    assert written.startswith(good[1])
    if written == good[1]:
        assert not closed


@settings(deadline=None, max_examples=150)
@given(message(), st.data())
def test_a_damaged_message_is_one_request_at_most_and_answered_or_awaited(original: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(original) - 1))
    damaged = original[:place] + data.draw(st.binary(min_size=1, max_size=3)) + original[place + 1 :]
    seen, written, closed = talk([damaged])
    statuses = re.findall(rb"HTTP/1.1 (\d+) ", written)
    assert len(statuses) >= len(seen)
    if closed and not seen:
        assert statuses, "closed without a word"


HEADER_TEXT = st.text(st.characters(max_codepoint=0x250), max_size=30)


@given(st.lists(st.tuples(HEADER_TEXT, HEADER_TEXT), max_size=5), st.binary(max_size=20), st.integers(200, 599))
def test_header_values_never_split_a_response(headers: list[tuple[str, str]], body: bytes, status: int) -> None:
    raw = encode_response(HttpResponse(status, list(headers), body))
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert rest == (b"" if status in (204, 304) else body)
    lines = head.split(b"\r\n")
    assert len(lines) <= 4 + len(headers)
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert sum(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines) <= 1


@given(st.text(max_size=40))
def test_a_refusal_is_one_response_whatever_it_says(why: str) -> None:
    head, _, body = refusal(400, why).partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert body.count(b'"') == 4
