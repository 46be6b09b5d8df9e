"""Where the time of a request goes, in µs: a cold start served by a spare, one forked on demand, and a warm request.

Nothing is estimated: client, server and function read the same clock (CLOCK_MONOTONIC). The client and the function
say when a request left and came back, when the handler was entered and left, with its page faults; the server's
journal says the rest (`received_ns`, `started_ns`, `finished_ns`, `hooks_ms`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from bench.client import Connection, http_request
from bench.cloud import EXAMPLE, Cloud, Deployed, deploy, up
from bench.snapshot import EVERY_S, UP

COUNT = 60
WARM_UP = 10
NAME = "iris-traced"
POINT = ("--handler", "traced.handler")
HANDLER = '''"""The example's handler, which tells when it was entered and left, and its page faults."""

import json
import resource
import time

import lambda_function


def handler(event, context):
    entered = _now()
    answer = lambda_function.lambda_handler(event, context)
    answer["body"] = json.dumps([entered, _now()])
    return answer


def _now():
    return [time.monotonic_ns(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
'''
PHASES = (
    ("the request reaches the server, is parsed and routed", "sent", "received"),
    ("an environment is wanted, until a process has its orders", "received", "ordered"),
    ("it takes its place, runs the hooks, asks for work", "ordered", "started"),
    ("the request reaches the handler", "started", "entered"),
    ("the handler: the example's own code", "entered", "left"),
    ("the result reaches the server", "left", "finished"),
    ("log and journal are written, the client has its answer", "finished", "answered"),
)
"""Of a warm request the second and third are one: it finds its environment."""
Trace = dict[str, int]
"""Moments in ns, and `faults`, the page faults inside the handler; `born`, those before it."""


def breakdown(folder: Path) -> str:
    """Medians of each phase, as a table; a column's phases do not add up to its whole exactly, medians never do."""
    project = folder / NAME
    shutil.copytree(EXAMPLE, project)
    (project / "traced.py").write_text(HANDLER)
    columns = [
        ("spare", cold_traces(folder / "spare", project, "spare")),
        ("fork", cold_traces(folder / "fork", project, "fork", "--spares-max", "0")),
        ("warm", warm_traces(folder / "warm", project)),
    ]
    lines = [f"n = {', '.join(f'{len(traces)} {name}' for name, traces in columns)}; medians in µs", ""]
    lines.append(f"| {'phase':<58} |" + "".join(f" {name:>6} |" for name, _ in columns))
    lines.append(f"|{'-' * 60}|" + "--------|" * len(columns))
    for what, begin, end in (*PHASES, ("all of it, as the client sees it", "sent", "answered")):
        lines.append(row(what, [median(spans(traces, begin, end)) for _, traces in columns]))
    lines.append(
        row("page faults in the handler", [median(trace["faults"] for trace in traces) for _, traces in columns])
    )
    lines.append(
        row(
            "page faults of the process before it", [median(trace["born"] for trace in traces) for _, traces in columns]
        )
    )
    return "\n".join(lines)


def row(what: str, values: Iterable[float]) -> str:
    return f"| {what:<58} |" + "".join(f" {value:>6.0f} |" for value in values)


def spans(traces: Iterable[Trace], begin: str, end: str) -> list[float]:
    return [(trace[end] - trace[begin]) / 1000 for trace in traces]


def cold_traces(place: Path, project: Path, origin: str, *options: str) -> list[Trace]:
    """Only requests whose environment came from `origin`; raises RuntimeError where there are none."""
    with up(place, place.with_suffix(".log"), *UP, *options) as cloud:
        deployed = deploy(cloud, NAME, 1769, *POINT, "--snapstart", project=project)
        traces = collected(cloud, deployed, COUNT, fresh=True)
    found = [trace for trace, record in traces if record["cold"] and record["origin"] == origin]
    if not found:
        raise RuntimeError(f"no cold start came from a {origin}")
    return found


def warm_traces(place: Path, project: Path) -> list[Trace]:
    with up(place, place.with_suffix(".log")) as cloud:
        deployed = deploy(cloud, NAME, 1769, *POINT, project=project)
        traces = collected(cloud, deployed, COUNT, fresh=False)
    return [without_restore(trace) for trace, record in traces if not record["cold"]]


def without_restore(trace: Trace) -> Trace:
    """A warm request's environment is there: `received` to `started` is one phase, shown as the second."""
    return {**trace, "ordered": trace["started"]}


def collected(cloud: Cloud, deployed: Deployed, count: int, *, fresh: bool) -> list[tuple[Trace, dict[str, Any]]]:
    """Traces with the journal's record of each; `fresh`: so far apart that each has an environment of its own."""
    request = http_request("POST", deployed.path, (EXAMPLE / "sample.json").read_bytes())
    told: list[tuple[int, int, list[Any]]] = []
    since_ms = time.time() * 1000
    with Connection(cloud.port) as connection:
        for _ in range(WARM_UP + count):
            if fresh:
                time.sleep(EVERY_S)
            sent = time.monotonic_ns()
            body = connection.send(request)
            told.append((sent, time.monotonic_ns(), json.loads(body)))
    records = recorded(cloud, deployed, since_ms, len(told))
    hooks_ms = {one["environment"]: one["hooks_ms"] for one in records if one["type"] == "restored"}
    served = [one for one in records if one["type"] == "invocation"]
    found = [(traced(*one, record, hooks_ms), record) for one, record in zip(told, served, strict=True)]
    return found[WARM_UP:]


def recorded(cloud: Cloud, deployed: Deployed, since_ms: float, requests: int) -> list[dict[str, Any]]:
    """The journal once it has them all: the last record may follow its answer. Raises RuntimeError after 5 s."""
    deadline = time.monotonic() + 5
    while True:
        records = cloud.journal(deployed.name, since_ms)
        found = sum(one["type"] == "invocation" for one in records)
        if found == requests:
            return records
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found} records of {requests} requests")


def traced(sent: int, answered: int, told: list[Any], record: dict[str, Any], hooks_ms: dict[str, float]) -> Trace:
    (entered, before), (left, after) = told
    trace = {"sent": sent, "received": record["received_ns"], "started": record["started_ns"], "entered": entered}
    trace |= {"left": left, "finished": record["finished_ns"], "answered": answered}
    moments = list(trace.values())
    if moments != sorted(moments):
        raise RuntimeError(f"the moments of a request are out of order: {trace}")
    if record["cold"] and record["environment"] in hooks_ms:
        trace["ordered"] = trace["started"] - int(hooks_ms[record["environment"]] * 1e6)
    return {**trace, "faults": after - before, "born": before}
