"""An HTTP/1.1 server: what the connections of one listener share, and their life."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable

from preheat.kernel.http import HttpRequest
from preheat.net.connection import Front, HttpConnection
from preheat.net.contract import BodySink, Handler, HttpLimits, Respond

__all__ = ["BodySink", "Handler", "HttpLimits", "HttpServer", "Respond"]


class HttpServer:
    """Listens; `handler` answers every request, `stream` may take a request's body as it comes."""

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits | None = None,
        stream: Callable[[HttpRequest], BodySink | None] | None = None,
    ) -> None:
        self._front = Front(handler, limits or HttpLimits(), stream)
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Start listening; returns the port (useful with 0). Raises OSError where it is taken."""
        loop = asyncio.get_running_loop()
        front = self._front
        self._listener = await loop.create_server(lambda: HttpConnection(front), host, port, backlog=2048, ssl=tls)
        self._sweeper = loop.call_later(front.limits.sweep_s, self._sweep, loop)
        port_: int = self._listener.sockets[0].getsockname()[1]
        return port_

    async def listen_on(self, listener: socket.socket) -> None:
        """Accept from a listening socket of the caller's making, which is ours from now on."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: HttpConnection(self._front), sock=listener, backlog=2048)
        self._sweeper = loop.call_later(self._front.limits.sweep_s, self._sweep, loop)

    async def drain(self, grace_s: float) -> None:
        """Stop listening, let requests in flight finish for up to `grace_s`, then close."""
        self._front.closing = True
        if self._listener is not None:
            self._listener.close()
        deadline = time.monotonic() + grace_s
        while any(c.busy for c in self._front.connections) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.close()

    def close(self) -> None:
        """Close the listener and every connection now. No harm in calling it twice."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._front.connections):
            connection.close()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for connection in list(self._front.connections):
            connection.expire(now)
        self._sweeper = loop.call_later(self._front.limits.sweep_s, self._sweep, loop)
