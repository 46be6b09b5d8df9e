"""The front over real sockets: whole messages, keep-alive, pipelining, and every way to be refused."""

from __future__ import annotations

import asyncio

import pytest
from front_support import Client, Held, Running, echo, front, run

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.net.http import Respond


def test_keep_alive_serves_one_request_after_another() -> None:
    async def scenario() -> None:
        async with front() as running, running.client() as client:
            for number in range(3):
                client.get(f"/{number}?q=1", method="POST", body=b"x" * number)
                answer = await client.answer()
                assert (answer.status, answer.headers["x-seen"]) == (200, f"POST /{number}?q=1")
                assert (answer.body, answer.headers["connection"]) == (b"x" * number, "keep-alive")

    run(scenario())


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running, running.client() as client:
            for number in range(200):
                client.get(f"/{number}")
            for number in range(200):
                request, respond = await held.take()
                assert request.path == f"/{number}"
                assert not held.requests
                respond(HttpResponse(200, [], request.path.encode()))
            for number in range(200):
                assert (await client.answer()).body == f"/{number}".encode()

    run(scenario())


def test_a_late_second_answer_is_dropped() -> None:
    async def scenario() -> None:
        def twice(request: HttpRequest, respond: Respond) -> None:
            respond(HttpResponse(200, [], b"first"))
            respond(HttpResponse(500, [], b"second"))

        async with front(twice) as running, running.client() as client:
            client.get()
            client.get()
            assert [(await client.answer()).body for _ in range(2)] == [b"first", b"first"]

    run(scenario())


def test_head_has_the_length_and_no_body() -> None:
    async def scenario() -> None:
        def answer(request: HttpRequest, respond: Respond) -> None:
            respond(HttpResponse(200, [], b"four"))

        async with front(answer) as running, running.client() as client:
            client.get(method="HEAD")
            client.get()
            assert (await client.answer(head_only=True)).headers["content-length"] == "4"
            assert (await client.answer()).body == b"four"

    run(scenario())


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_none_and_no_length(status: int) -> None:
    async def scenario() -> None:
        def answer(request: HttpRequest, respond: Respond) -> None:
            respond(HttpResponse(status, [], b"never sent"))

        async with front(answer) as running, running.client() as client:
            client.get()
            client.get()
            for _ in range(2):
                head = await client.answer()
                assert head.status == status
                assert "content-length" not in head.headers

    run(scenario())


def test_chunked_bodies_come_whole_and_trailers_are_no_headers() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running, running.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil\r\n\r\n")
            client.send(b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-Evil: yes\r\nAuthorization: root\r\n\r\n")
            request, respond = await held.take()
            assert request.body == b"abcde"
            assert request.header("x-evil") is None
            assert request.header("authorization") is None
            respond(HttpResponse(200))
            assert (await client.answer()).status == 200

    run(scenario())


def test_expect_100_continue() -> None:
    async def scenario() -> None:
        async with front() as running, running.client() as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert await client.head() == (100, {})
            client.send(b"ok")
            assert (await client.answer()).body == b"ok"

    run(scenario())


def test_100_continue_waits_for_the_answers_before_it() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running, running.client() as client:
            client.get("/first")
            client.send(b"PUT /second HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            _, respond = await held.take()
            respond(HttpResponse(200, [], b"1"))
            assert (await client.answer()).body == b"1"
            assert await client.head() == (100, {})
            client.send(b"ok")
            request, respond = await held.take()
            assert (request.path, request.body) == ("/second", b"ok")
            respond(HttpResponse(200))

    run(scenario())


BAD = {
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "bytes beyond ASCII": ("GET /ä HTTP/1.1\r\nHost: h\r\n\r\n".encode(), 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "bad header": (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "length and chunked": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked and length": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "signed length": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", 400),
    "chunked not last": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "unknown transfer coding": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "bad chunk size": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "long header": (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    "long path": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 4_000 + b"\r\n", 431),
    "large body": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + b"a" * 1001, 413),
    "large chunks": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n" + b"a" * 500 + b"\r\n"
        b"1f5\r\n" + b"a" * 501 + b"\r\n0\r\n\r\n",
        413,
    ),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_bad_request_is_refused_and_the_connection_closed(case: str) -> None:
    raw, status = BAD[case]

    async def scenario() -> None:
        async with front(body_bytes=1000) as running, running.client() as client:
            client.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert b"message" in answer.body
            assert await client.rest() == b""

    run(scenario())


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_refused_pipelined_request_leaves_the_answers_before_it(case: str) -> None:
    raw, status = BAD[case]

    async def scenario() -> None:
        held = Held()
        async with front(held, body_bytes=1000) as running, running.client() as client:
            client.get("/1")
            client.get("/2")
            client.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
            for _ in range(2):
                request, respond = await held.take()
                respond(HttpResponse(200, [], request.path.encode()))
            assert [(await client.answer()).body for _ in range(2)] == [b"/1", b"/2"]
            assert (await client.answer()).status == status
            assert await client.rest() == b""
            assert not held.requests

    run(scenario())


def test_a_large_body_gets_its_413_although_the_client_is_still_sending() -> None:
    async def scenario() -> None:
        async with front(body_bytes=1000) as running, running.client() as client:
            size = 8 * 2**20
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 2**16):
                client.send(b"x" * 2**16)
                await client.writer.drain()
            assert (await client.answer()).status == 413

    run(scenario())


def test_slow_clients_are_closed_while_others_are_served() -> None:
    async def scenario() -> None:
        async with (
            front(message_s=0.1, idle_s=0.1) as running,
            running.client() as slow,
            running.client() as idle,
            running.client() as body,
            running.client() as quick,
        ):
            slow.send(b"GET / HTTP/1.1\r\nHo")
            body.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx")
            quick.get("/quick")
            assert (await quick.answer()).status == 200
            assert (await slow.answer()).status == 408
            assert (await body.answer()).status == 408
            assert await idle.rest() == b""

    run(scenario())


def test_a_body_may_take_as_long_as_its_size_needs() -> None:
    async def scenario() -> None:
        async with front(message_s=0.1, body_bytes_per_s=1) as running, running.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 21\r\n\r\n" + b"x" * 20)
            await asyncio.sleep(0.3)  # the time itself is what is tested
            client.send(b"y")
            assert (await client.answer()).body == b"x" * 20 + b"y"

    run(scenario())


def test_a_half_closed_client_gets_its_answers() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running, running.client() as client:
            client.get("/1")
            client.get("/2")
            client.writer.write_eof()
            for _ in range(2):
                request, respond = await held.take()
                respond(HttpResponse(200, [], request.path.encode()))
            assert [(await client.answer()).body for _ in range(2)] == [b"/1", b"/2"]
            assert await client.rest() == b""

    run(scenario())


@pytest.mark.parametrize(("version", "header", "kept"), [("1.1", "close", False), ("1.0", "x", False)])
def test_a_client_that_says_close_is_closed(version: str, header: str, kept: bool) -> None:
    async def scenario() -> None:
        async with front() as running, running.client() as client:
            client.send(f"GET /1 HTTP/{version}\r\nHost: h\r\nConnection: {header}\r\n\r\n".encode())
            client.get("/2")
            assert (await client.answer()).headers["x-seen"] == "GET /1"
            assert await client.rest() == b""

    run(scenario())


def test_drain_finishes_what_is_in_flight_and_closes() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running, running.client() as busy, running.client() as idle:
            busy.get("/1")
            _, respond = await held.take()
            draining = asyncio.create_task(running.server.drain(5.0))
            await asyncio.sleep(0)
            with pytest.raises(OSError):  # noqa: PT011 (whichever way: refused, or closed at once)
                await _ask(running)
            respond(HttpResponse(200, [], b"done"))
            answer = await busy.answer()
            assert (answer.body, answer.headers["connection"]) == (b"done", "close")
            await draining
            assert await idle.rest() == b""

    run(scenario())


async def _ask(running: Running) -> None:
    async with running.client() as client:
        client.get()
        if not await client.rest():
            raise OSError("closed without an answer")


def test_targets_reach_the_handler_as_sent() -> None:
    async def scenario() -> None:
        async with front() as running, running.client() as client:
            for path in ("/a%00b", "/%2e%2e/x", "//a//b", "/a/../b", "/;x", "/%", "/a?b?c=%3F"):
                client.get(path)
                assert (await client.answer()).headers["x-seen"] == f"GET {path}"
            client.send(b"GET http://a1.execute-api.h/p?q HTTP/1.1\r\nHost: other\r\n\r\n")
            assert (await client.answer()).headers["x-seen"] == "GET /p?q"

    run(scenario())


def test_an_absolute_target_names_the_host() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running, running.client() as client:
            client.send(b"GET http://a1.execute-api.h/p HTTP/1.1\r\nHost: other\r\n\r\n")
            request, respond = await held.take()
            assert request.header("host") == "a1.execute-api.h"
            respond(HttpResponse(200))

    run(scenario())


def test_a_handler_that_raises_is_a_500_and_the_connection_lives() -> None:
    async def scenario() -> None:
        def fail_once(request: HttpRequest, respond: Respond) -> None:
            if request.path == "/bad":
                raise KeyError("x")
            echo(request, respond)

        async with front(fail_once) as running, running.client() as client:
            client.get("/bad")
            client.get("/good")
            assert [(await client.answer()).status for _ in range(2)] == [500, 200]

    run(scenario())


def test_a_client_that_leaves_is_forgotten_and_its_late_answer_harmless() -> None:
    async def scenario() -> None:
        held = Held()
        async with front(held) as running:
            async with running.client() as client:
                client.get()
                _, respond = await held.take()
                client.reset()
            async with running.client() as other:
                other.get("/other")
                _, answer_other = await held.take()
                respond(HttpResponse(200, [], b"late"))
                answer_other(HttpResponse(200, [], b"own"))
                assert (await other.answer()).body == b"own"

    run(scenario())


async def _flood(client: Client, count: int) -> None:
    for number in range(count):
        client.get(f"/{number}", method="POST", body=b"x" * 10_000)
        await client.writer.drain()


def test_reading_stops_while_answers_are_not_read() -> None:
    """A client that sends and never reads must not make the front hold everything it sends or answers."""

    async def scenario() -> None:
        seen = 0

        def large(request: HttpRequest, respond: Respond) -> None:
            nonlocal seen
            seen += 1
            respond(HttpResponse(200, [], b"y" * 100_000))

        async with front(large) as running, running.client(limit=1024) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_flood(client, 20_000), 1.0)
            assert seen < 1_000
            before = seen
            for _ in range(before + 10):
                assert len((await client.answer()).body) == 100_000

    run(scenario())


def test_a_client_that_never_reads_is_cut_off() -> None:
    async def scenario() -> None:
        def large(request: HttpRequest, respond: Respond) -> None:
            respond(HttpResponse(200, [], b"y" * 20_000_000))

        async with front(large, write_s=0.1) as running, running.client(limit=1024) as client:
            client.get()
            await asyncio.sleep(0.5)  # not reading is what is tested
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.answer()

    run(scenario())
