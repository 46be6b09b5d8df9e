"""botocore clients whose requests go to a Dispatcher in this process instead of a socket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from preheat.aws.dispatch import Dispatcher
from preheat.kernel.http import HttpRequest


class _Raw:
    """What botocore reads a response's body from."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body

    def read(self, amount: int | None = None) -> bytes:
        body, self._body = self._body, b""
        return body


class Cloud:
    """An event loop in a thread with a dispatcher on it; `client` gives botocore clients of it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._dispatcher: Dispatcher | None = None

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Make a coroutine on the loop's thread and wait for it there."""

        async def call() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def serve(self, providers: dict[str, object]) -> None:
        self._dispatcher = Dispatcher(providers, region="us-east-1", account_id="000000000000")

    def client(self, service: str, **options: Any) -> Any:
        """`options` are botocore's Config's."""
        client = botocore.session.get_session().create_client(
            service,
            region_name="us-east-1",
            endpoint_url="http://localhost:4566",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}, **options),
        )
        client.meta.events.register("before-send.*", self._send)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        url, body = urlsplit(request.url), request.body or b""
        body = body.read() if hasattr(body, "read") else body
        headers = [(k, v.decode() if isinstance(v, bytes) else v) for k, v in request.headers.items()]
        headers.append(("Host", url.netloc))
        message = HttpRequest(
            request.method,
            url.path,
            url.query,
            headers,
            body.encode() if isinstance(body, str) else bytes(body),
            received_ns=time.monotonic_ns(),
        )
        assert self._dispatcher is not None
        dispatcher = self._dispatcher
        answer = self.run(lambda: dispatcher.handle(message))
        return AWSResponse(request.url, answer.status, _Headers(answer.headers), _Raw(answer.body))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Headers(dict[str, str]):
    """Response headers, found whatever their case."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in headers)

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.lower(), default)

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key.lower())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key.lower())


@contextmanager
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    try:
        yield made
    finally:
        made.close()
