"""What a container adds to an environment's start: the same handler from a zip in a process, from an image in runc."""

from __future__ import annotations

import io
import json
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

from bench.cloud import PREHEAT, RUNTIME, Cloud, up
from bench.processes import own_environment
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import difference

HANDLER = "def handler(event, context):\n    return 1\n"
ROLE = "arn:aws:iam::000000000000:role/LabRole"
SETTLE_S = 0.3
SIDES = ("container", "process")


def start_over_process(folder: Path, size: Size) -> Result:
    """Init as the server's records have it: from the launch to the runtime's first request for work."""
    place = folder / "containers"
    place.mkdir()
    with up(place / "data", place / "up.log") as cloud:
        client = cloud.client("lambda")
        facts: dict[str, Any] = {"Role": ROLE, "MemorySize": 1769}
        zipped = {"Runtime": RUNTIME, "Handler": "app.handler", "Code": {"ZipFile": _zip()}}
        client.create_function(FunctionName="process", **zipped, **facts)
        image = {"PackageType": "Image", "Code": {"ImageUri": _push(place, cloud)}}
        client.create_function(FunctionName="container", **image, **facts)
        for name in SIDES:
            client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
            _start(client, name, -1)  # once for the page cache
        since_ms = time.time() * 1000
        for number in range(size.cold_pairs):
            for name in SIDES:
                _start(client, name, number)
        samples = {name: [[init_ms] for init_ms in _inits(cloud, name, since_ms)] for name in SIDES}
    if {len(found) for found in samples.values()} != {size.cold_pairs}:
        raise RuntimeError("not every sampled request had an environment of its own")
    left, right = ((name, samples[name]) for name in SIDES)
    return comparison("container_start_over_process_ms", difference, left, right, "ms")


def _push(place: Path, cloud: Cloud) -> str:
    context = place / "light"
    context.mkdir()
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
