"""Does it stay flat? A server under load for minutes, its descriptors, processes and memory read all the while.

python -m bench.soak kills --minutes 30   mixed load while random environments (and templates) are killed
python -m bench.soak speed --minutes 5    100 connections as fast as they go
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any

from bench.client import HOST
from bench.cloud import EXAMPLE, RUNTIME, Cloud, deploy, up
from bench.processes import tree
from bench.throughput import wrk

ROLE = "arn:aws:iam::000000000000:role/soak"
HANDLER = """
import os, subprocess, time

def handler(event, context):
    kind = event.get("kind") or event.get("headers", {}).get("x-kind", "echo")
    if kind == "print":
        print("line " * 20, flush=True)
    elif kind == "raise":
        raise ValueError("as asked")
    elif kind == "exit":
        os._exit(1)
    elif kind == "daemon":
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    elif kind == "late":
        time.sleep(30)
    elif kind == "write":
        with open("/tmp/file", "wb") as file:
            file.write(b"x" * 100_000)
    elif kind == "memory":
        bytearray(30_000_000)
    return {"kind": kind}
"""
KINDS = {"echo": 60, "print": 15, "raise": 5, "exit": 2, "daemon": 2, "late": 1, "write": 10, "memory": 5}
WAYS = {"invoke": 50, "snapshot": 20, "gateway": 20, "event": 10}
CLIENTS = 12
ANSWERED = frozenset((200, 202, 500, 502))
"""By API Gateway a failed function is 500 (HTTP API) or 502 (REST API), by Invoke 200."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment; `rss_mb` is its own resident memory, `processes` are its descendants, `mounts` those
    below its data directory."""

    at_s: float
    requests: int
    fds: int
    threads: int
    processes: int
    rss_mb: float
    mounts: int
    environment_dirs: int


def sample(cloud: Cloud, data_dir: Path, started: float, requests: int) -> Sample:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{cloud.pid}/status").read_text().splitlines() if ":" in line
    )
    environments = data_dir / "environments"
    return Sample(
        round(time.monotonic() - started, 1),
        requests,
        len(list(Path(f"/proc/{cloud.pid}/fd").iterdir())),
        int(status["Threads"]),
        len(descendants(cloud.pid)),
        round(int(status["VmRSS"].split()[0]) * 1024 / 1e6, 1),
        sum(str(data_dir) in line for line in Path("/proc/mounts").read_text().splitlines()),
        len(list(environments.iterdir())) if environments.exists() else 0,
    )


def descendants(pid: int) -> list[int]:
    """Without those that end while they are counted."""
    with contextlib.suppress(OSError):
        return tree(pid)[1:]
    return descendants(pid)


class Load:
    """Clients that ask in every way for every kind of trouble, and count what they are told."""

    def __init__(self, cloud: Cloud, gateway_path: str) -> None:
        self.told: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._cloud = cloud
        self._gateway_path = gateway_path
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(CLIENTS)]

    @property
    def requests(self) -> int:
        return sum(self.told.values())

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _client(self, number: int) -> None:
        chance = random.Random(number)
        connection = HTTPConnection(HOST, self._cloud.port, timeout=60)
        while not self._stop.is_set():
            way = chance.choices(list(WAYS), list(WAYS.values()))[0]
            kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
            path = self._gateway_path if way == "gateway" else f"/2015-03-31/functions/{function_of(way)}/invocations"
            headers = {"Content-Type": "application/json", "X-Kind": kind}
            if way == "event":
                headers["X-Amz-Invocation-Type"] = "Event"
            try:
                connection.request("POST", path, json.dumps({"kind": kind}), headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException) as error:
                self.lost[type(error).__name__] += 1
                connection.close()
                continue
            self.told[f"{way} {answer.status}"] += 1
            if answer.status not in ANSWERED:
                self.lost[f"{way} {answer.status}"] += 1
            self._stop.wait(chance.expovariate(20))


def function_of(way: str) -> str:
    return "restored:live" if way == "snapshot" else "plain"


def create(cloud: Cloud) -> str:
    """A plain function, one with SnapStart behind the alias `live`, an HTTP API; returns the API's path."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("app.py", HANDLER)
    functions = cloud.client("lambda")
    for name, snap_start in (("plain", "None"), ("restored", "PublishedVersions")):
        functions.create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Role=ROLE,
            Handler="app.handler",
            Timeout=2,
            MemorySize=256,
            Code={"ZipFile": archive.getvalue()},
            SnapStart={"ApplyOn": snap_start},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=name)
    version = functions.publish_version(FunctionName="restored")["Version"]
    functions.get_waiter("function_active_v2").wait(FunctionName="restored", Qualifier=version)
    functions.create_alias(FunctionName="restored", Name="live", FunctionVersion=version)
    functions.put_function_event_invoke_config(FunctionName="plain", MaximumRetryAttempts=0)
    arn = functions.get_function(FunctionName="plain")["Configuration"]["FunctionArn"]
    api = cloud.client("apigatewayv2").create_api(Name="soak", ProtocolType="HTTP", Target=arn)
    return f"/_aws/execute-api/{api['ApiId']}/x"


def watch(
    cloud: Cloud, data_dir: Path, load: Load, minutes: float, every_s: float, kill_every_s: float
) -> list[Sample]:
    chance = random.Random(1)
    started = time.monotonic()
    samples, killed = [], 0
    next_sample, next_kill = started + every_s, started + kill_every_s
    while (now := time.monotonic()) < started + minutes * 60:
        if now >= next_kill:
            next_kill += kill_every_s
            victims = descendants(cloud.pid)
            if victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(victims), signal.SIGKILL)
                    killed += 1
        if now >= next_sample:
            next_sample += every_s
            samples.append(sample(cloud, data_dir, started, load.requests))
            report(samples[-1], f"killed {killed}")
        time.sleep(0.05)
    return samples


def report(seen: Sample, more: str = "") -> None:
    print(
        f"{seen.at_s:7.0f} s  {seen.requests:9,} requests  {seen.fds:4} fds  {seen.threads:3} threads  "
        f"{seen.processes:4} processes  {seen.rss_mb:6.1f} MB  {seen.mounts:3} mounts  "
        f"{seen.environment_dirs:4} environments  {more}",
        flush=True,
    )


def settle(cloud: Cloud, data_dir: Path, started: float, requests: int, limit_s: float = 90) -> Sample:
    """The server once nothing has changed for a while: environments expire, the queue of events is done, and spares
    that the last 10 s made likely are given up, which is looked at every 10 s."""
    deadline = time.monotonic() + limit_s
    last, since = (0, 0, 0), time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < 21:
        found = sample(cloud, data_dir, started, requests)
        if (found.processes, found.fds, found.environment_dirs) != last:
            last, since = (found.processes, found.fds, found.environment_dirs), time.monotonic()
        time.sleep(0.25)
    return sample(cloud, data_dir, started, requests)


def kills(minutes: float, every_s: float, kill_every_s: float) -> dict[str, Any]:
    with scratch() as folder, up(folder / "data", folder / "log", "--keep-alive-s", "5") as cloud:
        gateway_path = create(cloud)
        started = time.monotonic()
        with Load(cloud, gateway_path) as warm_up:
            time.sleep(min(20.0, minutes * 20))
        first = settle(cloud, folder / "data", started, warm_up.requests)
        report(first, "idle, before")
        with Load(cloud, gateway_path) as load:
            samples = watch(cloud, folder / "data", load, minutes, every_s, kill_every_s)
        last = settle(cloud, folder / "data", started, load.requests)
        report(last, "idle, after")
        lost = dict(load.lost)
    return summary(samples, lost, dict(load.told)) | {"idle_before": asdict(first), "idle_after": asdict(last)}


def speed(minutes: float, every_s: float) -> dict[str, Any]:
    with scratch() as folder, up(folder / "data", folder / "log", "--max-environments", "2") as cloud:
        deployed = deploy(cloud)
        body = json.dumps(json.loads((EXAMPLE / "sample.json").read_text())).encode()
        started = time.monotonic()
        samples, requests = [], 0
        wrk(cloud.port, deployed.path, body, 5)
        while time.monotonic() < started + minutes * 60:
            requests += wrk(cloud.port, deployed.path, body, round(every_s))["requests"]
            samples.append(sample(cloud, folder / "data", started, requests))
            report(samples[-1])
    return summary(samples, {}, {"gateway 200": requests})


def summary(samples: list[Sample], lost: dict[str, int], told: dict[str, int]) -> dict[str, Any]:
    """Medians of the first and the last third, and the answers by way and status."""
    third = max(1, len(samples) // 3)
    parts = {"first_third": samples[:third], "last_third": samples[-third:]}
    return {
        "answers": told,
        "lost": lost,
        **{
            name: {
                key: median(getattr(seen, key) for seen in part) for key in ("fds", "threads", "processes", "rss_mb")
            }
            for name, part in parts.items()
        },
    }


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="preheat-soak-") as folder:
        yield Path(folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("load", choices=["kills", "speed"])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--every-s", type=float, default=10, help="between samples")
    parser.add_argument("--kill-every-s", type=float, default=1)
    options = parser.parse_args()
    if options.load == "kills":
        found = kills(options.minutes, options.every_s, options.kill_every_s)
    else:
        found = speed(options.minutes, options.every_s)
    print(json.dumps(found, indent=2))
    return 1 if found["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
