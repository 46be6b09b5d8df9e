"""The local cloud's own endpoints, below /_preheat/: what the study and the command line ask besides AWS's APIs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec

from preheat import __version__
from preheat.execution.invoker import PoolInvoker
from preheat.execution.journal import Journal
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.kernel.settings import Settings


@dataclass(frozen=True, slots=True)
class OwnEndpoints:
    settings: Settings
    sandbox: str
    invoker: PoolInvoker
    journal: Journal
    collect: Callable[[bool], Awaitable[dict[str, int]]]
    """Collect garbage of images; True takes what is young as well."""
    download_code: Callable[[HttpRequest], Awaitable[HttpResponse]]

    async def handle(self, request: HttpRequest) -> HttpResponse:
        path = request.path
        if path == "/_preheat/health":
            return _json(self._health())
        if path == "/_preheat/status":
            return _json(self._status())
        if path == "/_preheat/journal":
            return await self._journal(request)
        if path == "/_preheat/gc" and request.method == "POST":
            return _json(await self.collect(request.query == "all"))
        if path.startswith("/_preheat/code/"):
            return await self.download_code(request)
        return _json({"message": f"no such endpoint: {path}"}, 404)

    def _health(self) -> dict[str, Any]:
        facts = {"sandbox": self.sandbox, "max_inits": self.settings.max_inits}
        return {"status": "ok", "version": __version__, "pid": os.getpid(), **facts}

    def _status(self) -> dict[str, Any]:
        functions: dict[str, dict[str, int]] = {}
        for pool in self.invoker.pools:
            load = pool.load
            now = {
                "idle": load.idle,
                "starting": load.starting,
                "serving": load.serving,
                "waiting requests": load.waiting,
            }
            before = functions.get(pool.function.name, {})
            functions[pool.function.name] = {what: count + before.get(what, 0) for what, count in now.items()}
        return {"version": __version__, "sandbox": self.sandbox, "functions": functions}

    async def _journal(self, request: HttpRequest) -> HttpResponse:
        query = parse_qs(request.query)
        try:
            since_ms = float(query.get("since_ms", ["0"])[0])
        except ValueError:
            return _json({"message": "since_ms is not a number"}, 400)
        function = query.get("function", [""])[0]
        body = await asyncio.to_thread(lambda: b"".join(self.journal.read(since_ms, function)))
        return HttpResponse(200, [("Content-Type", "application/x-ndjson")], body)


def _json(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, [("Content-Type", "application/json")], msgspec.json.encode(value))
