"""What freezing costs: a request that finds its environment frozen, and one that finds it running, in turn."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from statistics import median

from bench.client import Connection, http_request, timed_ms
from bench.cloud import deploy, up
from bench.peers import Workload
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import difference

PAUSE_S = 0.02
"""Between requests: longer than the grace after which an environment is frozen."""
SIDES = (("frozen", "5"), ("running", "3600000"))
"""Names and `--freeze-grace-ms`."""
DIRECT = 500


def freeze_and_thaw(folder: Path, workload: Workload, size: Size) -> Result:
    """By Invoke of the example, whose environment is one process with a loaded model."""
    samples: dict[str, list[list[float]]] = {name: [] for name, _ in SIDES}
    with contextlib.ExitStack() as stack:
        found = []
        for name, grace_ms in SIDES:
            place = folder / f"freeze-{name}"
            cloud = stack.enter_context(up(place, place.with_suffix(".log"), "--freeze-grace-ms", grace_ms))
            connection = stack.enter_context(Connection(cloud.port))
            request = http_request("POST", deploy(cloud).invoke_path, workload.body)
            connection.send(request)
            found.append((name, connection, request))
        for _ in range(size.freeze_rounds):
            for name, connection, request in found:
                samples[name].append([_after_a_pause(connection, request) for _ in range(size.freeze_each)])
    left, right = ((name, samples[name]) for name, _ in SIDES)
    return comparison("freeze_thaw_ms", difference, left, right, "ms", _direct())


def _after_a_pause(connection: Connection, request: bytes) -> float:
    time.sleep(PAUSE_S)
    return timed_ms(lambda: connection.send(request))


def _direct() -> str:
    """The two calls alone, on a control group with one sleeping process."""
    from preheat.sandbox.cgroup import CgroupParent

    parent = CgroupParent(f"preheat-bench-{os.getpid()}")
    if not parent.paths:
        return "no control group is writable here: signals are used"
    group = parent.child("frozen", 128)
    freeze_us, thaw_us = [], []
    with subprocess.Popen(["sleep", "600"]) as process:
        group.add(process.pid)
        for _ in range(DIRECT):
            freeze_us.append(timed_ms(group.freeze) * 1000)
            thaw_us.append(timed_ms(group.thaw) * 1000)
        group.kill()
    parent.remove()
    return f"the calls alone: {median(freeze_us):.0f} µs to freeze, {median(thaw_us):.0f} µs to thaw (n = {DIRECT})"
