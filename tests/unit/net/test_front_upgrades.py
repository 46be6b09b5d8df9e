"""Offered upgrades are declined: their requests are served in HTTP/1.1, bodies and all."""

from __future__ import annotations

import pytest
from front_support import front, run


def test_an_offered_upgrade_is_declined_and_what_follows_is_served() -> None:
    async def scenario() -> None:
        async with front() as running, running.client() as client:
            client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            client.get("/2")
            seen = [(await client.answer()).headers["x-seen"] for _ in range(2)]
            assert seen == ["GET /1", "GET /2"]

    run(scenario())


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cut", [False, True])
def test_an_upgrade_offered_with_a_body(body: bytes, cut: bool) -> None:
    """The request is served, and is the last one: what follows it is not taken for another."""

    async def scenario() -> None:
        async with front() as running, running.client() as client:
            client.get("/first")
            assert (await client.answer()).body == b""
            raw = b"POST /1 HTTP/1.1\r\nHost: h\r\n" + OFFER + body
            for piece in [bytes([byte]) for byte in raw] if cut else [raw + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"]:
                client.send(piece)
            answer = await client.answer()
            assert (answer.headers["x-seen"], answer.body) == ("POST /1", b"abc")
            assert (answer.headers["connection"], await client.rest()) == ("close", b"")

    run(scenario())


def test_limits_hold_for_a_body_after_an_offered_upgrade() -> None:
    async def scenario() -> None:
        async with front(body_bytes=1000) as running:
            for framing in (b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n"):
                async with running.client() as client:
                    client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + OFFER + framing + b"a" * 2000)
                    assert (await client.answer()).status == 413

    run(scenario())


def test_an_upgrade_that_the_connection_does_not_name_is_a_header_like_others() -> None:
    async def scenario() -> None:
        async with front() as running, running.client() as client:
            for path in ("/1", "/2"):
                client.get(path, "Upgrade: HTTP/2.0", method="POST", body=b"abc")
                answer = await client.answer()
                assert (answer.headers["x-seen"], answer.body) == (f"POST {path}", b"abc")

    run(scenario())
