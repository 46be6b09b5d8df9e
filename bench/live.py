"""A thousand environments of one snapshot at once: that all of them live and answer, and what each one weighs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.client import HOST, http_request
from bench.cloud import EXAMPLE, Cloud, Deployed, deploy, up
from bench.peers import Workload
from bench.processes import pss_mb, tree
from bench.result import Result, absolute
from bench.size import Size

NAME = "iris-held"
HANDLER = '''"""The example's handler, whose environment stays busy until a file appears."""

import os
import time

import lambda_function


def handler(event, context):
    answer = lambda_function.lambda_handler(event, context)
    while not os.path.exists(event.get("release", "/")):
        time.sleep(0.5)
    return answer
'''
SHARED = Path("/dev/shm")
"""An environment has a /tmp of its own; this it shares with the machine."""
LIMIT_S = 150.0


def deploy_held(cloud: Cloud, folder: Path) -> Deployed:
    project = folder / NAME
    shutil.copytree(EXAMPLE, project)
    (project / "held.py").write_text(HANDLER)
    options = ("--handler", "held.handler", "--timeout", "300", "--snapstart")
    return deploy(cloud, NAME, 1769, *options, project=project)


async def ask(port: int, request: bytes) -> None:
    """One request on a connection of its own. Raises RuntimeError for anything but a prediction."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or json.loads(body)["statusCode"] != 200:
        raise RuntimeError(f"answered {answer[:300].decode(errors='replace')}")


def serving(cloud: Cloud, deployed: Deployed) -> int:
    with urlopen(f"{cloud.endpoint_url}/_preheat/status", timeout=30) as answer:
        count: int = json.loads(answer.read())["functions"][deployed.name]["serving"]
    return count


def burst(cloud: Cloud, deployed: Deployed, values: bytes, count: int) -> list[dict[str, Any]]:
    """`count` requests at once, released when all of them are inside an environment; the journal's records of them.

    Raises RuntimeError if they have not all come in after 150 s.
    """
    since_ms = time.time() * 1000
    release = SHARED / f"preheat-bench-{os.getpid()}-{since_ms:.0f}"
    request = http_request(
        "POST",
        deployed.invoke_path,
        json.dumps({"body": values.decode(), "release": str(release)}).encode(),
        close=True,
    )

    async def all_of_them() -> None:
        asked = asyncio.gather(*(ask(cloud.port, request) for _ in range(count)))
        try:
            inside = 0
            while inside < count and time.time() * 1000 < since_ms + LIMIT_S * 1000:
                await asyncio.sleep(0.1)
                inside = await asyncio.to_thread(serving, cloud, deployed)
            release.touch()
            await asked
        finally:
            release.unlink(missing_ok=True)

    asyncio.run(all_of_them())
    return [one for one in cloud.journal(deployed.name, since_ms) if one["type"] == "invocation"]


def check_at_once(served: list[dict[str, Any]], count: int) -> None:
    """Every request was inside an environment of its own at one same moment. Raises RuntimeError otherwise."""
    environments = {one["environment"] for one in served}
    overlap_s = (min(one["finished_ns"] for one in served) - max(one["started_ns"] for one in served)) / 1e9
    if not len(environments) == len(served) == count or overlap_s <= 0:
        raise RuntimeError(f"{len(served)} requests in {len(environments)} environments, overlapping {overlap_s:.1f} s")


def environments_of(cloud: Cloud) -> list[list[int]]:
    """The pids of each environment: what its template has forked, and the namespace's init that came with it."""
    server, *below = tree(cloud.pid)
    del server
    members: dict[str, list[int]] = {}
    for pid in below:
        members.setdefault((Path(f"/proc/{pid}/ns/pid")).readlink().name, []).append(pid)
    own = Path("/proc/self/ns/pid").readlink().name
    return [pids for namespace, pids in members.items() if namespace != own]


def available_mb() -> float:
    """The kernel's own estimate (MemAvailable, proc(5); it counts in KiB)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 / 1e6


def live(folder: Path, workload: Workload, size: Size) -> list[Result]:
    """Spares are off, so that every process counted is an environment that has predicted."""
    count = size.environments
    options = ("--spares-max", "0", "--account-concurrency", str(count + 100), "--max-environments", str(count))
    with up(folder / "live", folder / "live.log", *options) as cloud:
        deployed = deploy_held(cloud, folder)
        before_mb = available_mb()
        began = time.monotonic()
        started = burst(cloud, deployed, workload.body, count)
        check_at_once(started, count)
        taken_s = (max(one["started_ns"] for one in started) - min(one["received_ns"] for one in started)) / 1e9
        environments = environments_of(cloud)
        if len(environments) != count:
            raise RuntimeError(f"{len(environments)} environments in PID namespaces, not {count}")
        weights = [sum(pss_mb(pid) for pid in pids) for pids in environments]
        kernels_mb = (before_mb - available_mb()) / count
        again = burst(cloud, deployed, workload.body, count)
        check_at_once(again, count)
        warm = sum(not one["cold"] for one in again)
        spent_s = time.monotonic() - began
    said = f"restored in {taken_s:.1f} s; {warm} of the second burst were warm; {spent_s:.0f} s in all"
    weight = f"{kernels_mb:.1f} MB each of the machine's available memory, the kernel's share included"
    return [
        absolute("env_pss_mb", "environment", weights, "MB", weight),
        Result("live_environments", count, (count, count), count, {"live": [[count]]}, "", f"{said}; {weight}"),
    ]
