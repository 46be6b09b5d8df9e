"""Runs on a model of Lambda behind API Gateway, seen from a distant client, with the truth of every request: what the
methods are measured by. Written as the files people have: Locust's log, CloudWatch exports, requests.csv."""

from __future__ import annotations

import csv
import heapq
import io
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

EPOCH_S = 1_763_800_000.0


@dataclass
class Sent:
    """One request and its truth."""

    start_s: float
    response_ms: float
    status: int
    user: int
    first: bool
    truth: str
    request_id: str = ""
    setup_ms: float = 0.0

    @property
    def end_s(self) -> float:
        return self.start_s + self.response_ms / 1000


@dataclass
class Line:
    """One REPORT line; `at_s` in UTC."""

    at_s: float
    duration_ms: float
    init_ms: float | None
    request_id: str
    stream: str

    @property
    def text(self) -> str:
        init_ms = self.init_ms or 0.0
        text = f"REPORT RequestId: {self.request_id}\tDuration: {self.duration_ms:.2f} ms\t"
        text += (
            f"Billed Duration: {int(self.duration_ms + init_ms) + 1} ms\tMemory Size: 128 MB\tMax Memory Used: 90 MB\t"
        )
        return text + (f"Init Duration: {self.init_ms:.2f} ms\t" if self.init_ms is not None else "")


@dataclass
class AwsRun:
    sent: list[Sent] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    users: int = 0
    per_s: float = 0.0

    @property
    def truth(self) -> list[str]:
        return [item.truth for item in self.sent]

    def locust_log(self, *, zone_h: float = 8.0, host: str = "laptop", ramp: bool = True, end: bool = True) -> str:
        """The log as Locust writes it, in local time, ordered by the end of the requests."""
        out = []

        def add(at_s: float, source: str, text: str) -> None:
            at = datetime.fromtimestamp(at_s + zone_h * 3600, UTC)
            stamp = f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d}"
            out.append(f"[{stamp}] {host}/INFO/{source}: {text}")

        begin = EPOCH_S - 0.01
        add(begin, "locust.main", "Starting Locust 2.43.0")
        if ramp:
            text = f"Ramping to {self.users} users at a rate of {self.per_s:.2f} per second"
            add(begin + 0.005, "locust.runners", text)
        for item in sorted(self.sent, key=lambda item: item.end_s):
            add(item.end_s, "root", f"Response time: {item.response_ms:.2f} ms")
            add(item.end_s, "root", f"Response status code: {item.status}")
            add(item.end_s, "root", 'Response text: {"predictions": [2]}')
        if end:
            last = max((item.end_s for item in self.sent), default=EPOCH_S) + 1
            add(last, "locust.main", "--run-time limit reached, shutting down")
            add(last, "locust.main", "Shutting down (exit code 0)")
        return "\n".join(out) + "\n"

    def requests_csv(self, *, users: bool = True, setup: bool = False, ids: bool = True) -> str:
        text = io.StringIO()
        names = ["index", "user", "method", "name", "url", "intended_start_s", "start_s", "connection", "connect_ms"]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*names, "tls_ms", "response_ms", "status", "bytes", "request_id", "error"])
        for index, item in enumerate(self.sent):
            connection = ("new" if item.first else "reused") if setup else "unknown"
            connect = f"{item.setup_ms:.3f}" if setup and item.first else ""
            row: list[Any] = [index, item.user if users else "", "POST", "/x", "", f"{item.start_s:.6f}"]
            row += [f"{item.start_s:.6f}", connection, connect, "", f"{item.response_ms:.2f}", item.status, 20]
            writer.writerow([*row, item.request_id if ids else "", "" if item.status == 200 else "HTTP error"])
        return text.getvalue()

    def events(self) -> list[tuple[float, str, str]]:
        """(epoch s, message, stream) of START, END and REPORT of every invocation, in the order of time."""
        found = []
        for line in self.lines:
            start = line.at_s - line.duration_ms / 1000
            found.append((start, f"START RequestId: {line.request_id} Version: $LATEST\n", line.stream))
            found.append((line.at_s, f"END RequestId: {line.request_id}\n", line.stream))
            found.append((line.at_s, line.text + "\n", line.stream))
        return sorted(found, key=lambda event: event[0])

    def console_csv(self, *, newest_first: bool = False) -> str:
        """The console's export: `timestamp,message`, milliseconds, messages quoted with their line feed."""
        rows = [(f"{at * 1000:.0f}", message) for at, message, _ in self.events()]
        return _csv(["timestamp", "message"], reversed(rows) if newest_first else rows)

    def insights_csv(self) -> str:
        """Logs Insights' export: newest first, UTC without a zone."""
        rows = [
            (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], message, stream, "0:/aws/lambda/x")
            for at, message, stream in reversed(self.events())
        ]
        return _csv(["@timestamp", "@message", "@logStream", "@log"], rows)

    def json_events(self) -> str:
        """`aws logs filter-log-events`."""
        events = [
            {"logStreamName": stream, "timestamp": round(at * 1000), "message": message, "eventId": str(index)}
            for index, (at, message, stream) in enumerate(self.events())
        ]
        return json.dumps({"events": events, "searchedLogStreams": []}, indent=2)

    def json_log(self) -> str:
        """The JSON log format, one `platform.report` a line."""
        out = []
        for line in self.lines:
            metrics: dict[str, Any] = {"durationMs": round(line.duration_ms, 3), "billedDurationMs": 1}
            metrics |= {"memorySizeMB": 128, "maxMemoryUsedMB": 90}
            metrics |= {"initDurationMs": line.init_ms} if line.init_ms is not None else {}
            at = datetime.fromtimestamp(line.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            record = {"requestId": line.request_id, "metrics": metrics, "status": "success"}
            out.append(json.dumps({"time": at, "type": "platform.report", "record": record}))
        return "\n".join(out) + "\n"

    def tail_text(self) -> str:
        """`aws logs tail`."""
        rows = [
            f"{datetime.fromtimestamp(at, UTC).isoformat(timespec='milliseconds')} {stream} {message.rstrip()}"
            for at, message, stream in self.events()
        ]
        return "\n".join(rows) + "\n"


def _csv(header: list[str], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def make_aws_run(
    *,
    seed: int = 1,
    users: int = 40,
    per_s: float = 10.0,
    run_time_s: float = 60.0,
    wait_s: tuple[float, float] = (3.0, 5.0),
    rtt_ms: float = 20.0,
    setup_trips: float = 3.0,
    jitter: float = 0.06,
    warm_ms: tuple[float, float] = (8.0, 0.3),
    init_ms: tuple[float, float] | None = (1800.0, 0.08),
    always_cold: bool = False,
    prewarmed: int = 0,
    refused: bool = False,
    drift: float = 0.0,
    clock_error_s: float = 0.0,
    lost_lines: float = 0.0,
    unmatched: float = 0.0,
    others: int = 0,
    third: tuple[float, float, float] | None = None,
    timeout_every: int = 0,
) -> AwsRun:
    """A closed loop of users, each with one connection. Environments serve one request at a time; a request that finds
    none idle gets a new one. `warm_ms` and `init_ms` are lognormal (median, sigma); `third` adds to a share of the
    warm requests a lognormal extra (share, median, sigma). `unmatched` is the share of answers lost on the way back
    (their requests are left out), `others` invocations by somebody else."""
    random_ = random.Random(seed)
    run = AwsRun(users=users, per_s=per_s)
    free: list[list[Any]] = [[-1.0, f"2025/11/22/[$LATEST]{number:032x}", 1] for number in range(prewarmed)]
    wakes = [(float(int(number / per_s)) + random_.uniform(0, 0.004), number) for number in range(users)]
    heapq.heapify(wakes)
    seen: set[int] = set()
    while wakes:
        at_s, user = heapq.heappop(wakes)
        if at_s >= run_time_s:
            continue
        first = user not in seen
        seen.add(user)
        way_ms = rtt_ms / 2 * random_.lognormvariate(0, jitter)
        back_ms = rtt_ms / 2 * random_.lognormvariate(0, jitter)
        setup_ms = setup_trips * rtt_ms * random_.lognormvariate(0, 0.05) if first else 0.0
        arrive_s = at_s + (setup_ms + way_ms + 3.0) / 1000
        request_id = f"{random_.getrandbits(32):08x}-1111-4222-8333-{len(run.sent):012x}"
        if refused:
            server_ms, truth, status = 1.0, "failed_before_function", 403
        else:
            server_ms, truth = _invoke(run, free, arrive_s, request_id, random_, warm_ms, init_ms, always_cold, third)
            status = 200
        response_ms = setup_ms + way_ms + 3.0 + server_ms + back_ms
        if random_.random() >= unmatched:
            error = clock_error_s + drift * at_s
            run.sent.append(Sent(EPOCH_S + at_s + error, response_ms, status, user, first, truth, request_id, setup_ms))
        heapq.heappush(wakes, (at_s + response_ms / 1000 + random_.uniform(*wait_s), user))
    for number in range(others):
        at_s = random_.uniform(0, run_time_s)
        line = Line(EPOCH_S + at_s, random_.lognormvariate(2, 0.3), None, f"other-{number}", "2025/11/22/[$LATEST]zz")
        run.lines.append(line)
    run.lines = [line for line in run.lines if random_.random() >= lost_lines]
    run.sent.sort(key=lambda item: item.start_s)
    return run


def _invoke(
    run: AwsRun,
    free: list[list[Any]],
    arrive_s: float,
    request_id: str,
    random_: random.Random,
    warm_ms: tuple[float, float],
    init_ms: tuple[float, float] | None,
    always_cold: bool,
    third: tuple[float, float, float] | None,
) -> tuple[float, str]:
    """(milliseconds at the server, truth); the environment is idle again when it has answered."""
    idle = [environment for environment in free if environment[0] <= arrive_s]
    duration_ms = warm_ms[0] * random_.lognormvariate(0, warm_ms[1])
    init: float | None = None
    if idle and not always_cold:
        environment = max(idle, key=lambda item: item[0])
        if third is not None and random_.random() < third[0]:
            duration_ms += third[1] * random_.lognormvariate(0, third[2])
    else:
        environment = [0.0, f"2025/11/22/[$LATEST]{random_.getrandbits(128):032x}", 0]
        free.append(environment)
        if init_ms is not None:
            init = init_ms[0] * random_.lognormvariate(0, init_ms[1])
        duration_ms *= 2
    end_s = arrive_s + ((init or 0.0) + duration_ms) / 1000
    environment[0] = end_s
    run.lines.append(Line(EPOCH_S + end_s, duration_ms, init, request_id, environment[1]))
    return (end_s - arrive_s) * 1000, "warm" if init is None else "cold"
