"""One round: invocations of a function at the same moment, and which execution environments answered them."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient

_COLD = re.compile(r'(?:Init|Restore) Duration: ([\d.]+) ms|"(?:init|restore)DurationMs": ?([\d.]+)')
"""In a REPORT line (text) or a platform.report event (JSON), of an environment's first request only."""
_REPORTED = re.compile(r'REPORT RequestId: (\S+)|"type": ?"platform\.report".*?"requestId": ?"([^"]+)"')
_REPORTS = '?"REPORT RequestId" ?"platform.report"'
"""A filter pattern for either (CloudWatch Logs, "Filter pattern syntax")."""

MOST_BURSTS = 5
"""In one round."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one invocation came to. `cold_ms` is the environment's init or restore if this was its first request;
    `function_error` whether the function failed (its environment is warm all the same); `refused` the error code
    if it never ran."""

    request_id: str
    cold_ms: float | None = None
    function_error: bool = False
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """`environments` that answered are told apart by log stream; `unknown` answers have none (yet)."""

    number: int
    at: float
    """Epoch seconds."""
    wanted: int
    took_ms: float
    answers: Sequence[Answer]
    environments: int
    unknown: int

    @property
    def cold(self) -> int:
        return sum(answer.cold_ms is not None for answer in self.answers)

    @property
    def failed(self) -> int:
        return sum(answer.function_error for answer in self.answers)

    @property
    def refused(self) -> Mapping[str, int]:
        """Error codes of invocations that never ran, with how many."""
        codes = [answer.refused for answer in self.answers if answer.refused]
        return {code: codes.count(code) for code in sorted(set(codes))}

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": "round",
            "round": self.number,
            "at": round(self.at, 3),
            "wanted": self.wanted,
            "environments": self.environments,
            "unknown": self.unknown,
            "invocations": len(self.answers),
            "cold": self.cold,
            "cold_ms": [answer.cold_ms for answer in self.answers if answer.cold_ms is not None],
            "failed": self.failed,
            "refused": self.refused,
            "took_ms": round(self.took_ms, 1),
        }


def run(
    number: int,
    wanted: int,
    invoke: Callable[[], Answer],
    streams: Callable[[Sequence[str], float], Mapping[str, str]],
) -> Round:
    """Invoke `wanted` times at once and ask which log stream each answer's request is in. While too few
    environments answered and some of them had to start, do so again: a start takes longer than an answer, and a
    machine starts only so many at once."""
    at, began = time.time(), time.perf_counter()
    answers: list[Answer] = []
    known: dict[str, str] = {}
    for _ in range(MOST_BURSTS):
        burst = at_once(invoke, wanted)
        answers += burst
        ids = [answer.request_id for answer in burst if answer.refused is None]
        known |= streams(ids, at) if ids else {}
        started = any(answer.cold_ms is not None for answer in burst)
        if not started or len(set(known.values())) >= wanted or len(ids) < wanted:
            break
    took_ms = (time.perf_counter() - began) * 1000
    unknown = sum(answer.refused is None and answer.request_id not in known for answer in answers)
    return Round(number, at, wanted, took_ms, answers, len(set(known.values())), unknown)


def at_once(invoke: Callable[[], Answer], count: int) -> list[Answer]:
    """The answers of `count` calls that start together, each in a thread of its own. What a call raises is raised."""
    barrier = threading.Barrier(count)
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def one() -> None:
        barrier.wait()
        try:
            answers.append(invoke())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return answers


def invoke_once(client: LambdaClient, function: str, payload: bytes) -> Answer:
    """One invocation through the Lambda API, answered with the end of its log. A schedule outlives refusals and
    lost connections, so those are answers too."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = client.invoke(FunctionName=function, InvocationType="RequestResponse", LogType="Tail", Payload=payload)
    except ClientError as error:
        return Answer("", refused=str(error.response.get("Error", {}).get("Code", "unknown")))
    except BotoCoreError as error:
        return Answer("", refused=type(error).__name__)
    answer["Payload"].read()
    tail = base64.b64decode(answer.get("LogResult", "")).decode("utf-8", errors="replace")
    request_id = answer["ResponseMetadata"].get("RequestId", "")
    return Answer(request_id, cold_ms(tail), "FunctionError" in answer)


def cold_ms(log_tail: str) -> float | None:
    """The init or restore duration that an invocation's log ends with, None for a warm one."""
    found = _COLD.search(log_tail)
    return float(found[1] or found[2]) if found else None


def streams_of(
    client: CloudWatchLogsClient, group: str, ids: Sequence[str], since: float, patience_s: float, poll_s: float
) -> dict[str, str]:
    """Log streams by request id, for those that CloudWatch Logs has within `patience_s`. One stream is one
    execution environment (Lambda's guide, "CloudWatch Logs"). Where the log cannot be read there are none."""
    deadline = time.monotonic() + patience_s
    missing = set(ids)
    found: dict[str, str] = {}
    while True:
        for stream, message in _reports(client, group, since):
            match = _REPORTED.search(message)
            name = (match[1] or match[2]) if match else None
            if name in missing:
                missing.discard(name)
                found[name] = stream
        if not missing or time.monotonic() >= deadline:
            return found
        time.sleep(poll_s)


def _reports(client: CloudWatchLogsClient, group: str, since: float) -> list[tuple[str, str]]:
    from botocore.exceptions import BotoCoreError, ClientError

    start_ms = int(since * 1000) - 2000  # its clock is not ours
    try:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start_ms, filterPattern=_REPORTS
        )
        return [(event["logStreamName"], event["message"]) for page in pages for event in page["events"]]
    except (BotoCoreError, ClientError):
        return []


def payload(hold_ms: int) -> bytes:
    """The event of a keep-warm invocation. A handler that knows it keeps its environment busy for `hold_ms`, so
    that the other invocations of the round must go to others."""
    return json.dumps({"preheat": "warm", "hold_ms": hold_ms}).encode()
