"""One request to the deployed function, and the log events of that very invocation."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from preheat.deploy.deployment import Sample
from preheat.deploy.packages import Say
from preheat.deploy.target import Clients, Target
from preheat.kernel.errors import PreheatError

_NOT_THERE_YET = (403, 404, 500)
"""What a new API on AWS answers until its deployment and permission have spread."""


def run(clients: Clients, target: Target, *, function: str, url: str, body: str, timeout_s: float, say: Say) -> Sample:
    """POST the body, then read the log. Locally both are there at once; AWS gets time for either."""
    sent_ms = int(time.time() * 1000)
    request = {"method": "POST", "url": url, "headers": {"Content-Type": "application/json"}, "body": body}
    response = _post(request, timeout_s, local=target.local)
    patience = time.monotonic() + 30
    while not target.local and response["status"] in _NOT_THERE_YET and time.monotonic() < patience:
        time.sleep(1)
        sent_ms = int(time.time() * 1000)
        response = _post(request, timeout_s, local=False)
    events = _log_events(clients, f"/aws/lambda/{function}", sent_ms, target)
    if not events:
        say("no log events of that request yet: see `aws logs tail`")
    return Sample(request, response, events)


def sample_body(project_dir: Path) -> str:
    """The project's sample.json on one line, `{}` if it has none; PreheatError 252 if it is not JSON."""
    path = project_dir / "sample.json"
    if not path.is_file():
        return "{}"
    try:
        return json.dumps(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise PreheatError(f"{path}: not JSON: {error}", 252) from error


def last_invocation(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events from START to REPORT of the last finished invocation; [] if none has finished.

    Events of one stream belong to one environment, which runs one request at a time, so between a request's
    START and its REPORT the stream holds nothing else (docs.aws.amazon.com/lambda, "Execution environment").
    """
    open_: dict[str, list[dict[str, Any]]] = {}
    finished: list[dict[str, Any]] = []
    for event in events:
        stream, message = event["stream"], event["message"]
        if message.startswith("START RequestId: "):
            open_[stream] = [event]
        elif stream in open_:
            open_[stream].append(event)
            if message.startswith(f"REPORT RequestId: {_request_id(open_[stream][0])}"):
                finished = open_.pop(stream)
    return finished


def _request_id(start: dict[str, Any]) -> str:
    return str(start["message"]).split()[2]


def _post(request: dict[str, Any], timeout_s: float, *, local: bool) -> dict[str, Any]:
    """One HTTP request; any status is an answer, no answer is PreheatError 255."""
    handlers: Sequence[Any] = (urllib.request.ProxyHandler({}),) if local else ()
    opener = urllib.request.build_opener(*handlers)
    message = urllib.request.Request(
        request["url"], data=request["body"].encode(), headers=request["headers"], method="POST"
    )
    started = time.perf_counter()
    try:
        answer = opener.open(message, timeout=timeout_s + 30)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        raise PreheatError(f"no answer from {request['url']}: {error}") from error
    with answer:
        body = answer.read()
        return {
            "status": answer.status,
            "headers": dict(answer.headers.items()),
            "body": body.decode("utf-8", errors="replace"),
            "ms": round((time.perf_counter() - started) * 1000, 2),
        }


def _log_events(clients: Clients, group: str, since_ms: int, target: Target) -> list[dict[str, Any]]:
    """What CloudWatch Logs has of the last invocation since a time, once its REPORT line is there."""
    # AWS delivers log events within seconds, and its clock is not this machine's.
    patience_s, skew_ms = (5.0, 0) if target.local else (30.0, 2000)
    deadline = time.monotonic() + patience_s
    while True:
        found = last_invocation(_filter(clients, group, since_ms - skew_ms))
        if found or time.monotonic() >= deadline:
            return found
        time.sleep(0.1 if target.local else 1.0)


def _filter(clients: Clients, group: str, since_ms: int) -> list[dict[str, Any]]:
    try:
        pages = clients.logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms)
        return [
            {"timestamp": event["timestamp"], "stream": event["logStreamName"], "message": event["message"]}
            for page in pages
            for event in page["events"]
        ]
    except clients.logs.exceptions.ResourceNotFoundException:
        return []  # the group appears with the first invocation
