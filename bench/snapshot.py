"""Cold starts from a snapshot, through the gateway: every sample the first request of an environment of its own."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench import cold
from bench.client import Connection, http_request, timed_ms
from bench.cloud import EXAMPLE, Cloud, Deployed, deploy, up
from bench.peers import Workload
from bench.result import Result, comparison, tail
from bench.size import Size
from bench.stats import percentile, pooled, ratio

KEEP_ALIVE_S = 0.02
"""So short that an environment is gone before the next request comes."""
EVERY_S = 0.15
UP = ("--keep-alive-s", str(KEEP_ALIVE_S))
NAME = "iris-snap"
PRIMED = '''"""The example, which has predicted once before its snapshot is taken (docs/how-to.md)."""

from snapshot_restore_py import register_before_snapshot

import lambda_function

register_before_snapshot(lambda_function.predict, [[5.1, 3.5, 1.4, 0.2]])
handler = lambda_function.lambda_handler
'''


@contextmanager
def deployed_with_snapshot(
    folder: Path, label: str, *options: str, primed: bool = False
) -> Iterator[tuple[Cloud, Deployed]]:
    project, handler = EXAMPLE, "lambda_function.lambda_handler"
    if primed:
        project, handler = folder / "project", "primed.handler"
        shutil.copytree(EXAMPLE, project)
        (project / "primed.py").write_text(PRIMED)
    with up(folder / label, folder / f"{label}.log", *UP, *options) as server:
        yield server, deploy(server, NAME, 1769, "--snapstart", "--handler", handler, project=project)


def sample(cloud: Cloud, request: bytes, count: int) -> list[float]:
    """Each on a connection made before: its set-up is no part of a cold start."""
    found = []
    for _ in range(count):
        time.sleep(EVERY_S)
        with Connection(cloud.port) as connection:
            found.append(timed_ms(lambda connection=connection: connection.send(request)))  # type: ignore[misc]
    return found


def check_all_cold(records: list[dict[str, Any]], expected: int) -> list[dict[str, Any]]:
    """The invocations, each by the journal the first one of an environment that was restored for it.

    Raises RuntimeError otherwise.
    """
    served = [record for record in records if record["type"] == "invocation"]
    restored = {record["environment"] for record in records if record["type"] == "restored"}
    proven = [one for one in served if one["cold"] and one["environment"] in restored and one["restore_ms"] is not None]
    environments = {one["environment"] for one in proven}
    if not len(environments) == len(proven) == len(served) == expected:
        raise RuntimeError(
            f"{len(served)} requests, {len(proven)} of them cold from a snapshot, in {len(environments)} environments; "
            f"all three should be {expected}"
        )
    return proven


def described(samples: list[float], served: list[dict[str, Any]]) -> str:
    """Where the environments came from, and what the server says of the restore itself."""
    origins = Counter(one["origin"] for one in served)
    restore = [one["restore_ms"] for one in served]
    came = ", ".join(f"{count} {origin}" for origin, count in sorted(origins.items()))
    return (
        f"p50 {median(samples):.2f} p99 {percentile(samples, 0.99):.2f} ms, restore p50 {median(restore):.2f} ms, "
        f"origins: {came}"
    )


def in_another_way(
    folder: Path, label: str, workload: Workload, size: Size, *options: str, primed: bool = False
) -> str:
    """A third as many, by a server with other options or with the primed function."""
    with deployed_with_snapshot(folder, label, *options, primed=primed) as (server, deployed):
        request = http_request("POST", deployed.path, workload.body)
        sample(server, request, 5)
        since_ms = time.time() * 1000
        count = size.snapshot_rounds * size.snapshot_each // 3
        found = sample(server, request, count)
        served = check_all_cold(server.journal(deployed.name, since_ms), count)
    return described(found, served)


def cold_starts(folder: Path, workload: Workload, size: Size) -> list[Result]:
    """p50 against REF, which is run once in every round, and p99."""
    ours: list[list[float]] = []
    references: list[list[float]] = []
    cold.reference_ms(workload)  # once for the page cache
    with deployed_with_snapshot(folder, "snapshot") as (server, deployed):
        request = http_request("POST", deployed.path, workload.body)
        sample(server, request, 5)
        since_ms = time.time() * 1000
        for _ in range(size.snapshot_rounds):
            ours.append(sample(server, request, size.snapshot_each))
            references.append([cold.reference_ms(workload)])
        served = check_all_cold(server.journal(deployed.name, since_ms), size.snapshot_rounds * size.snapshot_each)
    without = f"without spares {in_another_way(folder, 'fork', workload, size, '--spares-max', '0')}"
    primed = f"after a prediction before the snapshot {in_another_way(folder, 'primed', workload, size, primed=True)}"
    with_spares = described(pooled(ours), served)
    return [
        comparison(
            "cold_snapshot_p50_over_ref",
            ratio,
            ("Preheat", ours),
            ("REF", references),
            "ms",
            f"{with_spares}; {without}; {primed}",
        ),
        tail("cold_snapshot_p99_ms", "Preheat", ours, 0.99, "ms", f"{without}; {primed}"),
    ]
