"""Preheat's side: the server as `preheat up` starts it, and the function as `preheat deploy` puts it there."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from bench.client import HOST, http_request
from bench.processes import free_port, own_environment, running, wait_until_answered

PREHEAT = Path(sys.executable).with_name("preheat")
EXAMPLE = Path("examples/iris")
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
BUILD_CACHE = Path("bench/.preheat")
LIST_FUNCTIONS = http_request("GET", "/2015-03-31/functions")


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running `preheat up`. `ready_s`: from starting the process to its first answered API call."""

    port: int
    pid: int
    ready_s: float

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self, service: str) -> Any:
        return aws_client(service, self.endpoint_url)

    def journal(self, function: str, since_ms: float) -> list[dict[str, Any]]:
        """The phase records of a function since a moment (epoch ms)."""
        url = f"{self.endpoint_url}/_preheat/journal?function={function}&since_ms={since_ms:.0f}"
        with urlopen(url, timeout=30) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]


@dataclass(frozen=True, slots=True)
class Deployed:
    """`path` is the function's through the gateway, `invoke_path` its Invoke operation's."""

    name: str
    path: str
    invoke_path: str
    build_dir: Path


def aws_client(service: str, endpoint_url: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@contextlib.contextmanager
def up(data_dir: Path, log: Path, *options: str) -> Iterator[Cloud]:
    """`preheat up` on a free port with a data directory of its own, in the foreground."""
    port = free_port()
    command = [str(PREHEAT), "up", "--port", str(port), "--data-dir", str(data_dir), *options]
    started = time.perf_counter()
    with running(command, log) as process:
        wait_until_answered(process, port, LIST_FUNCTIONS, log, 30)
        yield Cloud(port, process.pid, time.perf_counter() - started)


def deploy(cloud: Cloud, name: str = "iris", memory_mb: int = 1769, *options: str, project: Path = EXAMPLE) -> Deployed:
    """Deploy the example. 1,769 MB is one whole vCPU on AWS (Lambda developer guide, "Configure memory")."""
    command = [str(PREHEAT), "deploy", str(project), "--name", name, "--endpoint-url", cloud.endpoint_url, "--json"]
    command += ["--runtime", RUNTIME, "--memory", str(memory_mb), "--data-dir", str(BUILD_CACHE), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=own_environment())
    if done.returncode:
        raise RuntimeError(f"preheat deploy failed with exit status {done.returncode}")
    record = json.loads(done.stdout)
    called = f"{name}:{record['qualifier']}" if record["qualifier"] else name
    invoke_path = f"/2015-03-31/functions/{called}/invocations"
    return Deployed(name, urlsplit(record["url"]).path, invoke_path, Path(record["build_dir"]))
