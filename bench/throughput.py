"""100 connections at once through the gateway, two environments, against FastAPI with two workers; by wrk."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench import peers
from bench.client import HOST
from bench.cloud import Cloud, Deployed
from bench.peers import Workload
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import ratio

CONNECTIONS = 100
ENVIRONMENTS = 2
ERRORS = ("not_2xx", "connect", "read", "write", "timeout")
SCRIPT = Path(__file__).with_name("post.lua")


def wrk(port: int, path: str, body: bytes, duration_s: int) -> dict[str, int]:
    """One run; raises RuntimeError if any request failed."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration_s}s", "-s", str(SCRIPT), f"http://{HOST}:{port}{path}"]
    done = subprocess.run([*command, "--", body.decode()], capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    if failed := {name: found[name] for name in ERRORS if found[name]}:
        raise RuntimeError(f"wrk on {path}: {failed} of {found['requests']} requests failed")
    return found


def per_second(run: dict[str, int]) -> float:
    return run["requests"] / (run["duration_us"] / 1e6)


def over_fastapi(cloud: Cloud, deployed: Deployed, workload: Workload, size: Size) -> Result:
    ours: list[dict[str, int]] = []
    theirs: list[dict[str, int]] = []
    with peers.fastapi(workload, ENVIRONMENTS) as port:
        wrk(cloud.port, deployed.path, workload.body, 3)
        wrk(port, "/default/iris", workload.body, 3)
        for _ in range(size.throughput_rounds):
            ours.append(wrk(cloud.port, deployed.path, workload.body, size.throughput_s))
            theirs.append(wrk(port, "/default/iris", workload.body, size.throughput_s))
    return comparison(
        "throughput_c100_over_fastapi_2w",
        ratio,
        ("Preheat", [[per_second(run)] for run in ours]),
        ("FastAPI 2w", [[per_second(run)] for run in theirs]),
        "req/s",
        f"p99 {ours[-1]['p99_us'] / 1000:.0f} against {theirs[-1]['p99_us'] / 1000:.0f} ms",
    )
