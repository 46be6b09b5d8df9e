"""Cold starts without a snapshot, through the gateway, against a bare Python process (REF)."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from bench.client import Connection, http_request, timed_ms
from bench.cloud import Cloud, Deployed
from bench.peers import Workload
from bench.processes import own_environment
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import ratio

REFERENCE = """
import sys
from lambda_function import lambda_handler
assert lambda_handler({"body": sys.argv[1]}, None)["statusCode"] == 200
print("predicted", flush=True)
"""
SETTLE_S = 0.3


def reference_ms(workload: Workload) -> float:
    """REF: from starting a Python process, in the function's folder, to its first prediction."""
    command = [sys.executable, "-c", REFERENCE, workload.body.decode()]
    started = time.perf_counter_ns()
    with subprocess.Popen(command, cwd=workload.folder, env=own_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        elapsed_ms = (time.perf_counter_ns() - started) / 1e6
    if line != b"predicted\n" or process.returncode:
        raise RuntimeError(f"the reference process failed with exit status {process.returncode}")
    return elapsed_ms


def retire_environments(cloud: Cloud, deployed: Deployed, number: int) -> None:
    """Change the function's configuration, as people do on AWS: what serves next is a new environment."""
    client = cloud.client("lambda")
    client.update_function_configuration(FunctionName=deployed.name, Description=f"cold start {number}")
    while client.get_function_configuration(FunctionName=deployed.name)["LastUpdateStatus"] == "InProgress":
        time.sleep(0.01)


def check_all_cold(records: list[dict[str, Any]], expected: int) -> None:
    """By the server's own records: every sample was the first request of an environment that was started for it,
    after it had arrived. Raises RuntimeError otherwise."""
    started_ms = {
        record["environment"]: record["at_ms"] for record in records if record["type"] == "environment_started"
    }
    served = [record for record in records if record["type"] == "invocation"]
    cold = [
        record for record in served if record["cold"] and started_ms.get(record["environment"], -1) >= record["at_ms"]
    ]
    if not len(cold) == len(served) == expected:
        raise RuntimeError(f"{len(cold)} of {len(served)} sampled requests were cold, all {expected} should be")


def over_reference(cloud: Cloud, deployed: Deployed, workload: Workload, size: Size) -> Result:
    """The client is connected before each sample: connection set-up is no part of a cold start."""
    request = http_request("POST", deployed.path, workload.body)
    reference_ms(workload)  # once for the page cache
    ours: list[list[float]] = []
    references: list[list[float]] = []
    since_ms = time.time() * 1000
    for number in range(size.cold_pairs):
        retire_environments(cloud, deployed, number)
        time.sleep(SETTLE_S)
        with Connection(cloud.port) as connection:
            ours.append([timed_ms(lambda: connection.send(request))])
        references.append([reference_ms(workload)])
    check_all_cold(cloud.journal(deployed.name, since_ms), size.cold_pairs)
    return comparison("cold_plain_p50_over_ref", ratio, ("Preheat", ours), ("REF", references), "ms")
