"""The Telemetry API of one runtime: events on their way to the extensions that subscribed.

Sources: Lambda developer guide, "Accessing real-time telemetry data for extensions using the Telemetry API" (limits,
defaults, destinations) and its event schema reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from preheat.execution.logstream import epoch_ms
from preheat.kernel import loglines
from preheat.kernel.function import LogEvent

SCHEMA_VERSIONS = ("2022-07-01", "2022-12-13", "2025-01-29")
HOSTS = ("sandbox.localdomain", "sandbox")
"""How an extension names its own environment."""
_RESERVED_PORT = 9001
_EARLY_EVENTS = 1000
"""Kept for those who subscribe during init: what happened before is theirs as well."""
_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_BEHIND = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."

Kind = Literal["platform", "function", "extension"]


class Buffering(msgspec.Struct):
    maxItems: int = 10_000
    maxBytes: int = 262_144
    timeoutMs: int = 1_000

    def check(self) -> None:
        limits = {"maxItems": (1_000, 10_000), "maxBytes": (262_144, 1_048_576), "timeoutMs": (25, 30_000)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"buffering.{name} must be from {low} to {high}")


class Destination(msgspec.Struct):
    protocol: str
    URI: str

    def address(self) -> tuple[int, str]:
        """(port, path) of a listener inside the environment."""
        if self.protocol != "HTTP":
            raise ValueError(f"destination.protocol {self.protocol!r}: only HTTP is built here")
        parts = urlsplit(self.URI)
        if parts.scheme != "http" or parts.hostname not in HOSTS or not parts.port or parts.port == _RESERVED_PORT:
            raise ValueError(f"destination.URI {self.URI!r} must be http://sandbox.localdomain:<port>/<path>")
        return parts.port, parts.path or "/"


class Subscription(msgspec.Struct):
    schemaVersion: str
    types: list[Kind]
    destination: Destination
    buffering: Buffering = msgspec.field(default_factory=Buffering)

    @classmethod
    def read(cls, body: bytes) -> Subscription:
        """Raises ValueError saying what is wrong."""
        try:
            wish = msgspec.json.decode(body, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error
        if wish.schemaVersion not in SCHEMA_VERSIONS:
            raise ValueError(f"schemaVersion must be one of {', '.join(SCHEMA_VERSIONS)}")
        if not wish.types:
            raise ValueError("types must name at least one of platform, function, extension")
        wish.buffering.check()
        wish.destination.address()
        return wish


class Telemetry:
    """Events for all subscribers. Nothing is kept or encoded where nobody may subscribe any more."""

    def __init__(self, json_logs: bool) -> None:
        self._json_logs = json_logs
        self._early: list[tuple[Kind, bytes]] | None = []
        self._subscribers: dict[str, Subscriber] = {}

    @property
    def open(self) -> bool:
        """Whether an extension may still subscribe: until init is over."""
        return self._early is not None

    @property
    def wanted(self) -> bool:
        return self._early is not None or bool(self._subscribers)

    def subscribe(self, name: str, wish: Subscription) -> None:
        """A second subscription of one extension takes the place of its first."""
        previous = self._subscribers.pop(name, None)
        if previous is not None:
            previous.close()
        self._subscribers[name] = subscriber = Subscriber(wish, self._dropped)
        for kind, event in self._early or ():
            subscriber.add(kind, event)

    def close_subscriptions(self) -> None:
        self._early = None

    def emit(self, event: str, record: dict[str, Any], now_ms: int) -> None:
        """A platform event, by its name without "platform."."""
        if self.wanted:
            self._add("platform", f"platform.{event}", record, now_ms)

    def output(self, kind: Kind, events: list[LogEvent]) -> None:
        """What the function or an extension has written."""
        if self.wanted:
            for at_ms, message in events:
                self._add(kind, kind, self._record(message), at_ms)

    async def flush(self) -> None:
        """Send what is there now, as long as that takes."""
        await asyncio.gather(*(subscriber.flush() for subscriber in self._subscribers.values()))

    def close(self) -> None:
        self._early = None
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._subscribers.clear()

    def _record(self, message: str) -> Any:
        """Text; with the JSON log format an object where the line is one."""
        if self._json_logs and message.startswith("{"):
            with contextlib.suppress(ValueError):
                return json.loads(message)
        return message

    def _add(self, kind: Kind, name: str, record: Any, now_ms: int) -> None:
        event = msgspec.json.encode({"time": loglines.iso_ms(now_ms), "type": name, "record": record})
        if self._early is not None and len(self._early) < _EARLY_EVENTS:
            self._early.append((kind, event))
        for subscriber in self._subscribers.values():
            subscriber.add(kind, event)

    def _dropped(self, subscriber: Subscriber, records: int, size: int) -> None:
        record = {"droppedBytes": size, "droppedRecords": records, "reason": _BEHIND}
        event = {"time": loglines.iso_ms(epoch_ms()), "type": "platform.logsDropped", "record": record}
        subscriber.add("platform", msgspec.json.encode(event))


class Subscriber:
    """One extension's listener and what waits for it: at most twice its `maxBytes`, the rest is dropped and counted."""

    def __init__(self, wish: Subscription, dropped: Callable[[Subscriber, int, int], None]) -> None:
        self._types = frozenset(wish.types)
        self._limits = wish.buffering
        self._port, self._path = wish.destination.address()
        self._dropped = dropped
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._lost_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    def add(self, kind: Kind, event: bytes) -> None:
        if kind not in self._types:
            return
        if self._waiting_bytes + len(event) > 2 * self._limits.maxBytes:
            self._lost += 1
            self._lost_bytes += len(event)
            return
        self._waiting.append(event)
        self._waiting_bytes += len(event)
        if len(self._waiting) >= self._limits.maxItems or self._waiting_bytes >= self._limits.maxBytes:
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._limits.timeoutMs / 1000, self._send)

    async def flush(self) -> None:
        while self._waiting or self._sending is not None:
            self._send()
            if self._sending is not None:
                await asyncio.shield(self._sending)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()
        self._waiting.clear()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is None and self._waiting:
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._sending = self._loop.create_task(self._deliver(b"[" + b",".join(batch) + b"]"))

    async def _deliver(self, body: bytes) -> None:
        """Until the listener has taken it: there may be none yet, and a frozen one answers when it is thawed."""
        attempt = 0
        try:
            while not await self._post(body):
                await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1
        finally:
            self._sending = None
        if self._lost:
            records, size, self._lost, self._lost_bytes = self._lost, self._lost_bytes, 0, 0
            self._dropped(self, records, size)
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(self._limits.timeoutMs / 1000, self._send)

    async def _post(self, body: bytes) -> bool:
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {HOSTS[0]}:{self._port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        try:
            writer.write(head.encode() + body)
            status = (await reader.readline()).split()
            return len(status) > 1 and status[1].startswith(b"2")
        except OSError:
            return False
        finally:
            writer.close()
