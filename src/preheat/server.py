"""The server's life: claim the data directory, listen, serve, finish what is in flight, leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop

from preheat.app import App
from preheat.kernel.errors import PreheatError
from preheat.kernel.settings import Settings
from preheat.net.http import HttpServer

Ready = Callable[[str, list[str]], None]
_GRACE_S = 30.0
"""Requests in flight may take this long after SIGTERM; API Gateway gives up on them at 29 s anyway."""


def run(settings: Settings, ready: Ready) -> None:
    """Serve until SIGINT or SIGTERM. `ready` gets the endpoint URL and what the machine cannot enforce.

    Raises PreheatError where the data directory or the port is taken.
    """
    with claimed(settings.data_dir):
        uvloop.run(_serve(settings, ready))


@contextlib.contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """One server per data directory: two would reap each other's environments."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "server.lock").open("a")
    except OSError as error:
        raise PreheatError(f"cannot use data directory {data_dir}: {error.strerror}", 253) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PreheatError(f"another preheat is up for {data_dir} (stop it with: preheat down)", 255) from None
        yield


async def _serve(settings: Settings, ready: Ready) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app = App(settings)
    server = HttpServer(app.handle, stream=app.stream)
    secure = HttpServer(app.handle, stream=app.stream)
    note = settings.data_dir / "server.json"
    try:
        try:
            port = await server.listen(settings.host, settings.port)
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise PreheatError(f"cannot listen on {where}: {error.strerror} (choose another --port)", 255) from None
        endpoint_url = f"http://{settings.host}:{port}"
        await app.start(endpoint_url)
        secured = await _listen_securely(secure, settings, port) if settings.tls == "on" else []
        note.write_text(json.dumps({"pid": os.getpid(), "endpoint_url": endpoint_url}))
        ready(endpoint_url, [*secured, *app.notes()])
        await stop.wait()
        await asyncio.gather(server.drain(_GRACE_S), secure.drain(_GRACE_S))
    finally:
        note.unlink(missing_ok=True)
        server.close()
        secure.close()
        await app.close()


async def _listen_securely(server: HttpServer, settings: Settings, plain_port: int) -> list[str]:
    """HTTPS on the next port (a free one where the plain one was); returns how clients come to trust it."""
    from preheat.net import tls

    directory = settings.data_dir / "tls"
    wanted = plain_port + 1 if settings.port else 0
    try:
        port = await server.listen(settings.host, wanted, tls.context(directory, settings.host, settings.region))
    except OSError as error:
        where = f"{settings.host}:{wanted}"
        raise PreheatError(f"cannot listen on {where} for HTTPS: {error.strerror} (choose another --port)") from None
    certificate = (directory / "certificate.pem").resolve()
    return [f"https://{settings.host}:{port} too; clients trust it by AWS_CA_BUNDLE={certificate} (curl --cacert)"]
