"""The figures of docs/design-defence.md: each decision beside what it was chosen over, alternating, one machine.

python -m bench.decisions            all of them
python -m bench.decisions transport  one
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench import peers
from bench.client import HOST, Connection, http_request, keep_alive_ms
from bench.cloud import EXAMPLE, PREHEAT, Cloud, deploy, up
from bench.faults import faults
from bench.phases import breakdown
from bench.processes import free_port, own_environment, running, wait_until_answered
from bench.stats import percentile
from bench.throughput import per_second, wrk

ROUNDS = 10
REQUESTS = 500
BURST = 20
HANDLER = "def handler(event, context):\n    return {}\n"


def serve_own(port: int) -> None:
    """The front's protocol with a handler that does nothing."""
    import uvloop

    from preheat.kernel.http import HttpRequest, HttpResponse
    from preheat.net.http import HttpServer, Respond

    def handle(request: HttpRequest, respond: Respond) -> None:
        respond(HttpResponse(200, [("Content-Type", "application/json")], b"{}"))

    async def serve() -> None:
        await HttpServer(handle).listen(HOST, port)
        await asyncio.Event().wait()

    uvloop.run(serve())


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """The same as bare ASGI, for uvicorn: no framework."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})


@contextlib.contextmanager
def listening(command: list[str], port: int, folder: Path) -> Iterator[int]:
    log = folder / f"{port}.log"
    with running(command, log, env=own_environment(PYTHONPATH=str(Path(__file__).parents[1]))) as process:
        wait_until_answered(process, port, http_request("GET", "/"), log, 30)
        yield port


def front(folder: Path) -> str:
    """Sequential requests on one keep-alive connection, p50 of all rounds."""
    own_port, other_port = free_port(), free_port()
    own = [sys.executable, "-m", "bench.decisions", "--serve", str(own_port)]
    other = [str(peers.VENV / "bin/uvicorn"), "bench.decisions:asgi", "--host", HOST, "--port", str(other_port)]
    other += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with listening(own, own_port, folder), listening(other, other_port, folder):
        ours, theirs = alternate(
            own_port, other_port, http_request("POST", "/", b"{}"), http_request("POST", "/", b"{}")
        )
    return said("own protocol", ours, "uvicorn, bare ASGI", theirs)


def transport(folder: Path) -> str:
    """Invoke of a handler that does nothing, over the socket pair and over the HTTP Runtime API."""
    with contextlib.ExitStack() as stack:
        ports = []
        for name in ("socket", "http"):
            cloud = stack.enter_context(up(folder / name, folder / f"{name}.log", "--transport", name))
            create(cloud.client("lambda"))
            ports.append(cloud.port)
        request = http_request("POST", "/2015-03-31/functions/nothing/invocations", b"{}")
        ours, theirs = alternate(ports[0], ports[1], request, request)
    return said("socket", ours, "HTTP Runtime API", theirs)


def linger(folder: Path) -> str:
    """Sequential Invoke of a handler that does nothing, polling for a moment and sleeping at once."""
    with contextlib.ExitStack() as stack:
        ports = []
        for name, limit_us in (("polling", "250"), ("sleeping", "0")):
            cloud = stack.enter_context(up(folder / name, folder / f"{name}.log", "--linger-us", limit_us))
            create(cloud.client("lambda"))
            ports.append(cloud.port)
        request = http_request("POST", "/2015-03-31/functions/nothing/invocations", b"{}")
        ours, theirs = alternate(ports[0], ports[1], request, request)
    return said("polling", ours, "sleeping at once", theirs)


ONE_AT_A_TIME = """
from preheat.execution.socket_channel import SocketChannel
SocketChannel.send_ahead = lambda *_: None
from preheat.cli.main import main
main()
"""


def ahead(folder: Path) -> str:
    """The example at 100 connections: the next request left in a busy runtime's socket, or sent when it is free."""
    options = ["up", "--max-environments", "2"]
    runs: tuple[list[float], list[float]] = [], []
    with contextlib.ExitStack() as stack:
        paths = []
        for name, program in (("ahead", [str(PREHEAT)]), ("one", [sys.executable, "-c", ONE_AT_A_TIME])):
            port, log = free_port(), folder / f"{name}.log"
            command = [*program, *options, "--port", str(port), "--data-dir", str(folder / name)]
            process = stack.enter_context(running(command, log))
            wait_until_answered(process, port, http_request("GET", "/2015-03-31/functions"), log, 30)
            paths.append((port, deploy(Cloud(port, process.pid, 0.0)).path))
        body = (EXAMPLE / "sample.json").read_bytes()
        for _ in range(ROUNDS):
            for (port, path), seen in zip(paths, runs, strict=True):
                seen.append(per_second(wrk(port, path, body, 2)))
    ours, theirs = (median(seen) for seen in runs)
    figures = f"sent ahead {ours:,.0f} req/s, when free {theirs:,.0f} req/s, ratio {ours / theirs:.2f}"
    return f"{figures} (n {ROUNDS} runs of 2 s each)"


def values(folder: Path) -> str:
    """Making a value of 24 fields: a msgspec.Struct and a frozen dataclass."""
    names = [f"field_{number}" for number in range(24)]
    fields: dict[str, Any] = dict.fromkeys(names, 1)
    struct = msgspec.defstruct("Struct", names, frozen=True)
    plain = dataclasses.make_dataclass("Plain", names, frozen=True, slots=True)
    ours = timed(lambda: [struct(**fields) for _ in range(100)])
    theirs = timed(lambda: [plain(**fields) for _ in range(100)])
    return said("100 msgspec.Structs", ours, "100 frozen dataclasses", theirs)


def create(client: Any) -> None:
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", HANDLER)
    facts: dict[str, Any] = {"Runtime": "python3.11", "Handler": "app.handler", "MemorySize": 1769}
    facts["Role"] = "arn:aws:iam::000000000000:role/LabRole"
    client.create_function(FunctionName="nothing", Code={"ZipFile": archive.getvalue()}, **facts)
    client.get_waiter("function_active_v2").wait(FunctionName="nothing")


def alternate(one: int, other: int, first: bytes, second: bytes) -> tuple[list[float], list[float]]:
    """Rounds of requests to two ports in turn, warmed up; milliseconds."""
    ours: list[float] = []
    theirs: list[float] = []
    with Connection(one) as left, Connection(other) as right:
        keep_alive_ms(left, first, REQUESTS)
        keep_alive_ms(right, second, REQUESTS)
        for _ in range(ROUNDS):
            ours += keep_alive_ms(left, first, REQUESTS)
            theirs += keep_alive_ms(right, second, REQUESTS)
    return ours, theirs


def logs(folder: Path) -> str:
    """An invocation's START, END and REPORT made safe from kill -9: `LogStore.put` against one SQLite commit."""
    from preheat.kernel.database import connect
    from preheat.services.logs.store import LogStore

    events = [
        (1_700_000_000_000, f"{word} RequestId: {'x' * 36} and some more\n") for word in ("START", "END", "REPORT")
    ]
    store = LogStore(folder / "logs")
    store.create_stream("group", "stream")
    table = "CREATE TABLE events (stream INTEGER, at_ms INTEGER, message TEXT) STRICT"
    database: sqlite3.Connection = connect(folder / "events.db", (table,))

    def insert() -> None:
        with database:
            database.execute("BEGIN")
            database.executemany("INSERT INTO events VALUES (1, ?, ?)", events)

    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours += timed(lambda: store.put("group", "stream", events))
        theirs += timed(insert)
    store.close()
    return said("append to a file", ours, "SQLite commit (WAL)", theirs)


def timed(action: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(REQUESTS):
        started = time.perf_counter_ns()
        action()
        found.append((time.perf_counter_ns() - started) / 1e6)
    return found


def burst(folder: Path) -> str:
    """Twenty requests at once to the Iris function without environments, with init slots and without."""
    from concurrent.futures import wait

    shown = []
    for name, options in (("as many inits as cores", ()), (f"{BURST} inits at once", ("--max-inits", str(BURST)))):
        with up(folder / f"burst{len(options)}", folder / "burst.log", *options) as cloud:
            deployed = deploy(cloud)
            body = (Path("examples/iris") / "sample.json").read_bytes()
            request = http_request("POST", deployed.path, body)
            found: list[list[float]] = []
            for _ in range(3):
                cloud.client("lambda").update_function_configuration(
                    FunctionName=deployed.name, Description=str(random.random())
                )
                cloud.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=deployed.name)
                with ThreadPoolExecutor(BURST) as threads:
                    asked = [threads.submit(one_request_ms, cloud.port, request) for _ in range(BURST)]
                    wait(asked)
                found.append([one.result() for one in asked])
        p50, worst = median(median(one) for one in found), median(max(one) for one in found)
        shown.append(f"{name}: p50 {p50:.0f} ms, last {worst:.0f} ms")
    return "; ".join(shown) + f" (n = 3 bursts of {BURST})"


def one_request_ms(port: int, request: bytes) -> float:
    started = time.perf_counter_ns()
    with Connection(port) as connection:
        connection.send(request)
    return (time.perf_counter_ns() - started) / 1e6


def said(one: str, ours: list[float], other: str, theirs: list[float]) -> str:
    left, right = median(ours), median(theirs)
    tails = f"p99 {percentile(ours, 0.99) * 1000:.0f} and {percentile(theirs, 0.99) * 1000:.0f} µs"
    return (
        f"{one} p50 {left * 1000:.0f} µs, {other} {right * 1000:.0f} µs, ratio {left / right:.2f}; "
        f"{tails} (n = {len(ours)} each)"
    )


DECISIONS = {
    "front": front,
    "transport": transport,
    "logs": logs,
    "burst": burst,
    "linger": linger,
    "ahead": ahead,
    "values": values,
    "phases": breakdown,
    "faults": faults,
}


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--serve"]:
        serve_own(int(arguments[1]))
        return
    for name in arguments or DECISIONS:
        with tempfile.TemporaryDirectory(prefix="preheat-decisions-") as folder:
            print(f"{name}: {DECISIONS[name](Path(folder))}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
