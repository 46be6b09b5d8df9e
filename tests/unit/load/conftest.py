"""A small HTTP(S) server that remembers what really happened, to hold the recorder's rows against."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Self-signed for localhost, made for these tests only."""


@dataclass
class Seen:
    """One request as the server saw it."""

    connection: int
    first_on_connection: bool
    target: str


FUNCTION = {
    "Configuration": {
        "Version": "$LATEST",
        "MemorySize": 256,
        "Timeout": 9,
        "Architectures": ["arm64"],
        "PackageType": "Image",
    },
    "Code": {
        "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/iris:latest",
        "ResolvedImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/iris@sha256:" + "0" * 64,
    },
}


@dataclass
class Server:
    """Answers `?status=` with that status, `?close=1` with Connection: close, anything else with 200."""

    url: str = ""
    seen: dict[str, Seen] = field(default_factory=dict)
    connections: int = 0
    since_ms: float = 0.0
    withheld: int = 0
    """How many times the journal is asked for before it shows the latest invocation."""
    arrived: threading.Event = field(default_factory=threading.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection, count = self.connections, 0
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = head.split(" ")[1]
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        await reader.readexactly(int(line.split(":")[1]))
                count += 1
                writer.write(self._answer(target, connection, count))
                await writer.drain()
                if "close=1" in target:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, target: str, connection: int, count: int) -> bytes:
        query = dict(urllib.parse.parse_qsl(target.partition("?")[2]))
        if target.startswith("/_preheat/"):
            body = self._preheat(target, query)
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        if target.startswith("/2015-03-31/functions/"):
            body = json.dumps(FUNCTION).encode()
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        request_id = str(uuid.uuid4())
        self.seen[request_id] = Seen(connection, count == 1, target)
        self.arrived.set()
        closing = "Connection: close\r\n" if "close" in query else ""
        return (
            f"HTTP/1.1 {query.get('status', '200')} Whatever\r\nx-amzn-RequestId: {request_id}\r\n"
            f"{closing}Content-Length: 5\r\n\r\nhello"
        ).encode()

    def _preheat(self, target: str, query: dict[str, str]) -> bytes:
        if target.startswith("/_preheat/health"):
            return b'{"status": "ok", "sandbox": "process", "max_inits": 2}'
        self.since_ms = float(query["since_ms"])
        records: list[dict[str, object]] = [{"type": "environment_started", "function": query["function"]}]
        for number, request_id in enumerate(self.seen):
            ids = {"request_id": str(uuid.uuid4()), "gateway_request_id": request_id}
            records.append({"type": "invocation", "cold": number == 0, **ids})
        if self.withheld > 0:
            self.withheld -= 1
            records.pop()
        return "".join(json.dumps(record) + "\n" for record in records).encode()


def serving(scheme: str) -> Iterator[Server]:
    server = Server()
    context = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context))
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:

        async def end() -> None:
            listening.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.stop()

        asyncio.run_coroutine_threadsafe(end(), loop)
        thread.join(10)
        loop.close()


@pytest.fixture(params=["http", "https"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    yield from serving(request.param)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving("http")
