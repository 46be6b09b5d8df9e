"""Inside Locust: record every request, with what its user intended and what its connection cost.

Locust's own CSV has percentiles rounded to two digits and no single request. The hook adds no options and
needs nothing from the locustfile: it listens to `events.request` and wraps the four places where a stock
user waits, sends, and connects. Import after `locust`, which monkey-patches the standard library for gevent.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from preheat.load.rows import COLUMNS, encode

_ATTRIBUTE = "_preheat_exchange"
_DUE = "_preheat_due_s"
_NUMBER = "_preheat_number"


@dataclass(slots=True)
class Exchange:
    """One call of a client's request method: who made it, when it was due, the connections made meanwhile."""

    user: int | str
    due_s: float | None
    attempts: int = 0
    connected: bool = False
    secured: bool = False
    connect_ms: float = 0.0
    """Name resolution and TCP set-up, over all connections (a redirect may need a second one)."""
    tls_ms: float = 0.0

    @property
    def cells(self) -> tuple[str, str, str]:
        """connection, connect_ms, tls_ms as requests.csv has them."""
        if not self.attempts:
            return "reused", "", ""
        return (
            "new",
            f"{self.connect_ms:.3f}" if self.connected else "",
            f"{self.tls_ms:.3f}" if self.secured else "",
        )


class _Current(threading.local):
    """The exchange under way in this greenlet (gevent makes thread locals greenlet-local).

    A connection is always set up by the greenlet that needs it, so even users that share a connection
    pool are charged for their own connections only.
    """

    exchange: Exchange | None = None


_current = _Current()
_numbers = itertools.count(1)


class Recorder:
    """Writes requests.csv, each row with one system call: whatever ends the run, whole rows stay."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self._indexes = itertools.count()
        os.write(self._fd, encode(COLUMNS))

    def on_request(
        self,
        request_type: str,
        name: str,
        response_time: float | None,
        response_length: int | None,
        response: Any = None,
        exception: BaseException | None = None,
        start_time: float | None = None,
        url: str | None = None,
        **_: Any,
    ) -> None:
        """A listener of `events.request` (docs.locust.io, "Event hooks")."""
        elapsed_ms = response_time or 0.0
        start_s = time.time() - elapsed_ms / 1000 if start_time is None else start_time
        exchange: Exchange | None = getattr(response, _ATTRIBUTE, None)
        user: int | str = ""
        intended_s = start_s
        connection = ("unknown", "", "")
        if exchange is not None:
            user = exchange.user
            connection = exchange.cells
            if exchange.due_s is not None:
                intended_s = min(exchange.due_s, start_s)  # a timer may fire a hair early
        row = encode(
            (
                next(self._indexes),
                user,
                request_type,
                name,
                url or "",
                f"{intended_s:.6f}",
                f"{start_s:.6f}",
                *connection,
                f"{elapsed_ms:.3f}",
                getattr(response, "status_code", None) or 0,
                response_length or 0,
                _request_id(response),
                "" if exception is None else str(exception) or type(exception).__name__,
            )
        )
        os.write(self._fd, row)


def install(path: Path) -> None:
    """Record every request of the Locust run about to start in this process. Call once, after importing locust."""
    import geventhttpclient.connectionpool as geventhttp
    import urllib3.connection
    from locust import events
    from locust.clients import HttpSession
    from locust.contrib.fasthttp import FastHttpSession
    from locust.user.task import TaskSet

    events.request.add_listener(Recorder(path).on_request)  # type: ignore[no-untyped-call]
    _replace(TaskSet, "_sleep", _noting_when_due)
    _replace(HttpSession, "_send_request_safe_mode", _as_exchange)
    _replace(FastHttpSession, "_send_request_safe_mode", _as_exchange)
    # HttpUser: _new_conn resolves the name and connects, HTTPSConnection.connect calls it and shakes hands.
    _replace(urllib3.connection.HTTPConnection, "_new_conn", _timing_connect)
    _replace(urllib3.connection.HTTPSConnection, "connect", _timing_tls)
    # FastHttpUser: the same, with the resolution on its own and both levels under one name.
    _replace(geventhttp.ConnectionPool, "_resolve", _timing_connect)
    _replace(geventhttp.ConnectionPool, "_connect_socket", _timing_connect)
    _replace(geventhttp.SSLConnectionPool, "_connect_socket", _timing_tls)


def _replace(owner: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))


def _noting_when_due(sleep: Callable[..., Any]) -> Callable[..., Any]:
    """TaskSet._sleep: the user's next request is meant for the end of this wait, however late it then starts."""

    @wraps(sleep)
    def waiting(taskset: Any, seconds: float) -> Any:
        setattr(taskset.user, _DUE, time.time() + seconds)
        return sleep(taskset, seconds)

    return waiting


def _as_exchange(send: Callable[..., Any]) -> Callable[..., Any]:
    """A session's method that sends one request and returns a response, also for an error: tie the exchange to it."""

    @wraps(send)
    def sending(session: Any, *args: Any, **kwargs: Any) -> Any:
        exchange = Exchange(*_whose(session.user))
        outer, _current.exchange = _current.exchange, exchange
        try:
            response = send(session, *args, **kwargs)
        finally:
            _current.exchange = outer
        setattr(response, _ATTRIBUTE, exchange)
        return response

    return sending


def _whose(user: Any) -> tuple[int | str, float | None]:
    """A user's number (1 is the first to send) and when this request was due; only the first after a wait was."""
    if user is None:
        return "", None
    state: dict[str, Any] = user.__dict__
    if _NUMBER not in state:
        state[_NUMBER] = next(_numbers)
    return state[_NUMBER], state.pop(_DUE, None)


def _timing_connect(connect: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(connect)
    def connecting(*args: Any, **kwargs: Any) -> Any:
        exchange = _current.exchange
        if exchange is None:
            return connect(*args, **kwargs)
        exchange.attempts += 1
        exchange.connected = False  # until this step, the latest, has succeeded
        started = time.perf_counter()
        try:
            result = connect(*args, **kwargs)
            exchange.connected = True
            return result
        finally:
            exchange.connect_ms += (time.perf_counter() - started) * 1000

    return connecting


def _timing_tls(connect: Callable[..., Any]) -> Callable[..., Any]:
    """The handshake is what a TLS connection takes beyond the TCP connection that it sets up within."""

    @wraps(connect)
    def connecting(*args: Any, **kwargs: Any) -> Any:
        exchange = _current.exchange
        if exchange is None:
            return connect(*args, **kwargs)
        tcp_ms = exchange.connect_ms
        started = time.perf_counter()
        result = connect(*args, **kwargs)
        exchange.tls_ms += (time.perf_counter() - started) * 1000 - (exchange.connect_ms - tcp_ms)
        exchange.secured = True
        return result

    return connecting


def _request_id(response: Any) -> str:
    headers = getattr(response, "headers", None)  # both clients' headers ignore case
    return (headers.get("x-amzn-requestid") or "") if headers else ""
