"""What a container adds to an environment's start: the same handler from a zip in a process, from an image in runc, and
from that image in Docker's engine, where there is one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cloud import PREHEAT, RUNTIME, Cloud, up
from bench.processes import own_environment, running
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import difference
from preheat.kernel.errors import PreheatError
from preheat.sandbox.docker import engine as docker_engine

HANDLER = "def handler(event, context):\n    return 1\n"
ROLE = "arn:aws:iam::000000000000:role/LabRole"
SETTLE_S = 0.3
ENGINE_S = 60
NO_BRIDGE = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
"""For an engine of our own: this machine's network stays as it is."""


def start_over_process(folder: Path, size: Size) -> Result:
    """Init as the server's records have it: from the launch to the runtime's first request for work."""
    place = folder / "containers"
    place.mkdir()
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(up(place / "data", place / "up.log", "--image-sandbox", "container"))
        sides = {"container": near, "process": near}
        note = ""
        if (engine := stack.enter_context(_engine(place))) is not None:
            options = ("--image-sandbox", "docker", "--docker-host", engine)
            sides["docker"] = stack.enter_context(up(place / "docker-data", place / "docker-up.log", *options))
        else:
            note = "docker not measured: no engine here and none can be started"
        for name, cloud in sides.items():
            _create(place, cloud, name)
            _start(cloud.client("lambda"), name, -1)  # once for the page cache
        since_ms = time.time() * 1000
        for number in range(size.cold_pairs):
            for name, cloud in sides.items():
                _start(cloud.client("lambda"), name, number)
        samples = {name: [[init_ms] for init_ms in _inits(cloud, name, since_ms)] for name, cloud in sides.items()}
    if {len(found) for found in samples.values()} != {size.cold_pairs}:
        raise RuntimeError("not every sampled request had an environment of its own")
    left, right = (("container", samples["container"]), ("process", samples["process"]))
    return replace(comparison("container_start_over_process_ms", difference, left, right, "ms", note), sides=samples)


@contextlib.contextmanager
def _engine(place: Path) -> Iterator[str | None]:
    """Docker's engine: the one of DOCKER_HOST, else one of our own from Debian's docker.io; None where neither is."""
    if os.environ.get("DOCKER_HOST"):
        yield os.environ["DOCKER_HOST"]
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        yield None
        return
    address = f"unix://{place}/docker.sock"
    places = ["--data-root", f"{place}/docker", "--exec-root", f"{place}/run", "--pidfile", f"{place}/docker.pid"]
    with running(["dockerd", *places, "-H", address, *NO_BRIDGE], place / "dockerd.log"):
        deadline = time.monotonic() + ENGINE_S
        while not _answers(address):
            if time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not answer in {ENGINE_S} s: see {place}/dockerd.log")
            time.sleep(0.05)
        yield address
    for line in Path("/proc/mounts").read_text().splitlines():  # it leaves its network namespace mounted
        if line.split()[1].startswith(f"{place}/"):
            subprocess.run(["umount", line.split()[1]], check=False)


def _answers(address: str) -> bool:
    try:
        docker_engine(address)
    except PreheatError:
        return False
    return True


def _create(place: Path, cloud: Cloud, name: str) -> None:
    client = cloud.client("lambda")
    made: dict[str, Any] = {"Runtime": RUNTIME, "Handler": "app.handler", "Code": {"ZipFile": _zip()}}
    if name != "process":
        made = {"PackageType": "Image", "Code": {"ImageUri": _push(place, cloud)}}
    client.create_function(FunctionName=name, Role=ROLE, MemorySize=1769, **made)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def _push(place: Path, cloud: Cloud) -> str:
    context = place / "light"
    context.mkdir(exist_ok=True)
    (context / "app.py").write_text(HANDLER)
    version = RUNTIME.removeprefix("python")
    text = f'FROM public.ecr.aws/lambda/python:{version}\nCOPY app.py .\nCMD ["app.handler"]\n'
    (context / "Dockerfile").write_text(text)
    local = ["--data-dir", str(place / "build"), "--quiet"]
    _run("build", str(context), "-t", "light", *local)
    _run("push", "light", "--create", "--endpoint-url", cloud.endpoint_url, *local)
    return f"{cloud.endpoint_url.partition('://')[2]}/light:latest"


def _run(*arguments: str) -> None:
    done = subprocess.run(
        [str(PREHEAT), *arguments], env=own_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"preheat {arguments[0]} failed: {done.stderr.strip()}")


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", HANDLER)
    return buffer.getvalue()


def _start(client: Any, name: str, number: int) -> None:
    """A new revision, so that what serves next is a new environment; then a request for it."""
    client.update_function_configuration(FunctionName=name, Description=f"start {number}")
    while client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "InProgress":
        time.sleep(0.01)
    time.sleep(SETTLE_S)
    answer = client.invoke(FunctionName=name, Payload=b"{}")
    if json.loads(answer["Payload"].read()) != 1:
        raise RuntimeError(f"{name} did not answer as it should")


def _inits(cloud: Cloud, name: str, since_ms: float) -> list[float]:
    return [record["init_ms"] for record in cloud.journal(name, since_ms) if record["type"] == "init_done"]
