"""The local cloud's own account of a run: fetched through its HTTP interface and kept as journal.jsonl."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 10.0
"""How long to wait for records of answered requests: they are written just after the answer."""

# No proxy of the environment can reach this machine's loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Journal:
    """What was collected: counts, and the ids of answered requests that have no record."""

    environments_started: int
    cold: int
    missing: frozenset[str]


def health(endpoint_url: str) -> dict[str, Any] | None:
    """`/_preheat/health`, or None if no local cloud answers there."""
    try:
        with _OPENER.open(f"{endpoint_url}/_preheat/health", timeout=2) as answer:
            document = json.load(answer)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def collect(endpoint_url: str, function: str, since_ms: float, answered: Iterable[str], path: Path) -> Journal:
    """Write the journal since a time to `path`, waiting (bounded) until every answered request is in it.

    Raises OSError when the local cloud does not answer.
    """
    wanted = frozenset(answered)
    query = urllib.parse.urlencode({"since_ms": f"{since_ms:.3f}", "function": function})
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with _OPENER.open(f"{endpoint_url}/_preheat/journal?{query}", timeout=30) as answer:
            lines = answer.read()
        journal = summarise(lines.decode("utf-8", errors="replace").splitlines(), wanted)
        if not journal.missing or time.monotonic() >= deadline:
            path.write_bytes(lines)
            return journal
        time.sleep(0.25)


def summarise(lines: Iterable[str], wanted: frozenset[str]) -> Journal:
    """Count what a summary needs. A request is known by its own id or by the one API Gateway gave it."""
    started = cold = 0
    seen: set[str] = set()
    for line in lines:
        if not line.strip():
            continue
        record = json.loads(line)
        if record["type"] == "environment_started":
            started += 1
        elif record["type"] == "invocation":
            cold += bool(record["cold"])
            seen.update((record["request_id"], record.get("gateway_request_id") or ""))
        elif record["type"] == "throttle":
            seen.update((record["request_id"], record.get("gateway_request_id") or ""))
    return Journal(started, cold, wanted - seen)
