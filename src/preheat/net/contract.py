"""What a listener asks of its users, and what it lets its clients do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from preheat.kernel.http import HttpRequest, HttpResponse

Respond = Callable[[HttpResponse], None]
Handler = Callable[[HttpRequest, Respond], None]


class BodySink(Protocol):
    """Takes one request's body as it comes. Its speed is the client's: the next bytes are read after `write`."""

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        """The next bytes; given a future, the connection reads on when it is done. An error ends the request with
        500; `abort` follows."""

    def abort(self) -> None:
        """The rest will not come and the handler will not be called: called at most once."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """`header_bytes`: API Gateway's 10,240 for the request line and headers together. `body_bytes`: well above
    CreateFunction's 70,167,211, which Lambda itself refuses in its own words."""

    header_bytes: int = 10_240
    body_bytes: int = 96 * 2**20
    message_s: float = 30.0
    """A message not whole after this long, plus what its body takes at `body_bytes_per_s`, closes its connection."""
    body_bytes_per_s: int = 64 * 1024
    idle_s: float = 120.0
    write_s: float = 60.0
    """A client that reads nothing of its response for this long is cut off."""
    sweep_s: float = 1.0
    """How often the limits on time are looked after."""
