"""Runs with a known truth: a closed loop of users on a small model of the local cloud, written as a run's folder."""

from __future__ import annotations

import csv
import heapq
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preheat.analysis.requests_csv import COLUMNS

EPOCH_S = 1_763_800_000.0


@dataclass
class Environment:
    name: str
    ready_s: float
    init_ms: float
    free_s: float = 0.0
    served: int = 0


@dataclass
class Run:
    """What the files will hold, and beside it the truth that the analysis is to find."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    journal: list[dict[str, Any]] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    users: list[tuple[float, int]] = field(default_factory=list)

    def write(self, folder: Path, *, info: bool = True, journal: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "requests.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        if journal:
            text = "".join(json.dumps(record) + "\n" for record in self.journal)
            (folder / "journal.jsonl").write_text(text, encoding="utf-8")
        if info:
            (folder / "run.json").write_text(json.dumps(run_info(self)), encoding="utf-8")
        if self.users:
            logs = folder / "locust_logs"
            logs.mkdir(exist_ok=True)
            lines = ["Timestamp,User Count,Type,Name,Requests/s"]
            lines += [f"{at:.0f},{count},,Aggregated,1.0" for at, count in self.users]
            (logs / "test_stats_history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder


def run_info(run: Run) -> dict[str, Any]:
    return {
        "schema": 1,
        "started_at": EPOCH_S - 1,
        "finished_at": EPOCH_S + 62,
        "target": "local",
        "endpoint_url": "http://127.0.0.1:4566",
        "host": "http://127.0.0.1:4566/_aws/execute-api/a1b2c3d4e5",
        "function": "iris",
        "version": "$LATEST",
        "memory_mb": 512,
        "timeout_s": 30,
        "runtime": "python3.11",
        "users": len({row["user"] for row in run.rows}),
        "spawn_rate": 20,
        "run_time_s": 60,
        "locust_argv": ["locust", "-f", "locustfile.py", "--users", "100", "--spawn-rate", "20", "--run-time", "60s"],
        "exit_code": 0,
        "preheat_version": "0.1.0",
        "machine": {"cpus": 2, "memory_mb": 24000, "python": "3.11.7", "system": "Linux 6.18"},
        "sandbox": "process",
        "max_inits": 2,
        "sample": {
            "request": 'POST /default/iris\n{"values": [[5.1, 3.5, 1.4, 0.2]]}',
            "response": {"status": 200, "body": '{"predictions": [0], "species": ["<setosa>"]}'},
            "log_events": [
                "START RequestId: 3f7c Version: $LATEST\n",
                "END RequestId: 3f7c\n",
                "REPORT RequestId: 3f7c\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 512 MB\t"
                "Max Memory Used: 126 MB\tInit Duration: 1810.10 ms\t\n",
            ],
        },
    }


def make_run(
    *,
    seed: int = 7,
    users: int = 100,
    spawn_rate: float = 20.0,
    run_time_s: float = 60.0,
    init_ms: tuple[float, float] = (1500.0, 2300.0),
    max_inits: int = 2,
    prewarmed: int = 0,
    always_cold: bool = False,
    refused: bool = False,
) -> Run:
    """`prewarmed` environments served before the run; `always_cold` gives each request a new one;
    `refused` answers 403 at the gateway, as a wrong path does."""
    random_ = random.Random(seed)
    run = Run()
    environments = [Environment(f"{number:032x}", 0.0, 0.0, served=1) for number in range(prewarmed)]
    wakes = [(number / spawn_rate, number) for number in range(users)]
    heapq.heapify(wakes)
    run.users = [(EPOCH_S + s, min(users, int((s + 1) * spawn_rate))) for s in range(int(run_time_s))]
    first = set(range(users))
    while wakes:
        at_s, user = heapq.heappop(wakes)
        if at_s >= run_time_s:
            continue
        setup_ms = random_.uniform(0.15, 0.6) if user in first else None
        first.discard(user)
        request_id = f"00000000-0000-4000-8000-{len(run.rows):012x}"
        overhead_ms = 1.0 + random_.expovariate(2.0) + (setup_ms or 0.0)
        if refused:
            served_ms, truth, status = 0.4, "failed_before_function", 403
        else:
            served_ms, truth = _serve(run, environments, at_s, request_id, random_, init_ms, max_inits, always_cold)
            status = 200
        response_ms = served_ms + overhead_ms
        run.truth.append(truth)
        run.rows.append(_row(len(run.rows), user, at_s, setup_ms, response_ms, status, request_id))
        heapq.heappush(wakes, (at_s + response_ms / 1000 + random_.uniform(3, 5), user))
    return run


def _serve(
    run: Run,
    environments: list[Environment],
    at_s: float,
    request_id: str,
    random_: random.Random,
    init_ms: tuple[float, float],
    max_inits: int,
    always_cold: bool,
) -> tuple[float, str]:
    """Time spent before and in the function, and the true label."""
    idle = [env for env in environments if max(env.ready_s, env.free_s) <= at_s]
    starting = sum(env.ready_s > at_s for env in environments)
    if always_cold or (not idle and starting < max_inits):
        env = Environment(f"{0xA3F09C00 + 0x1D3779B1 * len(environments):032x}", 0.0, random_.uniform(*init_ms))
        env.ready_s = at_s + env.init_ms / 1000
        environments.append(env)
        spawn, runtime = 0.02 * env.init_ms, 0.11 * env.init_ms
        parts = {"spawn_ms": spawn, "runtime_ms": runtime, "handler_ms": env.init_ms - spawn - runtime}
        common = {"environment": env.name, "function": "iris", "version": "$LATEST"}
        started = {"type": "environment_started", "at_ms": (EPOCH_S + at_s) * 1000}
        started |= {"revision_id": "r1", "sandbox": "process", "init_type": "on-demand"}
        done = {"type": "init_done", "at_ms": (EPOCH_S + env.ready_s) * 1000, "init_ms": env.init_ms, "status": "ok"}
        run.journal += [started | common, done | common | parts]
    if always_cold:
        env = environments[-1]
    elif idle:
        env = max(idle, key=lambda e: e.free_s)
    else:  # whichever is free first, the starting ones included
        env = min(environments, key=lambda e: max(e.ready_s, e.free_s))
    begin_s = max(at_s, env.ready_s, env.free_s)
    wait_ms = (begin_s - at_s) * 1000 + 0.08
    duration_ms = 2.0 + random_.lognormvariate(0.0, 0.5) + (18.0 if env.served == 0 else 0.0)
    cold = env.served == 0
    env.served += 1
    env.free_s = begin_s + duration_ms / 1000
    run.journal.append(
        {
            "type": "invocation",
            "at_ms": (EPOCH_S + at_s) * 1000 + 0.5,
            "request_id": request_id.replace("8000", "9000"),
            "gateway_request_id": request_id,
            "environment": env.name,
            "function": "iris",
            "version": "$LATEST",
            "cold": cold,
            "received_ns": int(at_s * 1e9),
            "started_ns": int(begin_s * 1e9),
            "finished_ns": int(begin_s * 1e9 + duration_ms * 1e6),
            "wait_ms": wait_ms,
            "init_ms": env.init_ms if cold else None,
            "duration_ms": duration_ms,
            "billed_ms": round(duration_ms) + 1,
            "memory_mb": 512,
            "max_memory_mb": 126,
            "status": "ok",
            "error_type": None,
            "log_group": "/aws/lambda/iris",
            "log_stream": f"2026/11/22/[$LATEST]{env.name}",
        }
    )
    return wait_ms + duration_ms, "cold" if cold else "warm_waited" if wait_ms > 1.0 else "warm"


def _row(
    index: int, user: int, at_s: float, setup_ms: float | None, response_ms: float, status: int, request_id: str
) -> dict[str, Any]:
    return {
        "index": index,
        "user": user,
        "method": "POST",
        "name": "/default/iris",
        "url": "http://127.0.0.1:4566/default/iris",
        "intended_start_s": f"{EPOCH_S + at_s:.6f}",
        "start_s": f"{EPOCH_S + at_s:.6f}",
        "connection": "reused" if setup_ms is None else "new",
        "connect_ms": "" if setup_ms is None else f"{setup_ms:.3f}",
        "tls_ms": "",
        "response_ms": f"{response_ms:.3f}",
        "status": status,
        "bytes": 45,
        "request_id": request_id,
        "error": "" if status == 200 else f"HTTPError {status}",
    }
