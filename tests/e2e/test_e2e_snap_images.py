"""SnapStart of a function from an image, with the aws CLI and boto3: publishing, restoring, what a snapshot cannot
carry, and what is left when the server ends."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from e2e_cloud import ROLE, Cloud, eventually, freezer_states, preheat, remains

from preheat.sandbox.container import unusable

pytestmark = pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)")

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HANDLER = """
import os, random, socket, threading, time, uuid
import snapshot_restore_py

born, order = str(uuid.uuid4()), ["init"]
listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
threading.Thread(target=time.sleep, args=(600,), daemon=True, name="poller").start()
key = os.environ["AWS_SECRET_ACCESS_KEY"]


@snapshot_restore_py.register_before_snapshot
def before():
    order.append("before")


@snapshot_restore_py.register_after_restore
def after():
    order.append("after")


def handler(event, context):
    time.sleep(event.get("sleep", 0))
    print("printed by", born)
    return {"born": born, "order": order, "random": random.random(), "threads": threading.active_count(),
            "request": context.aws_request_id, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
            "uid": os.getuid(), "namespace": os.readlink("/proc/self/ns/pid")}
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the image `snap` built in it."""
    root = tmp_path_factory.mktemp("snap")
    (root / "app.py").write_text(HANDLER)
    text = f'FROM public.ecr.aws/lambda/python:{PYTHON}\nCOPY app.py .\nCMD ["app.handler"]\n'
    (root / "Dockerfile").write_text(text)
    built = preheat("build", str(root), "-t", "snap", "--data-dir", str(root / "data"), timeout_s=115)
    assert built.returncode == 0, built.stderr
    return root / "data"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud") / "data", "--image-sandbox", "container").start()
    pushed = preheat("push", "snap", "--create", "--endpoint-url", made.url, "--data-dir", str(layout))
    assert pushed.returncode == 0, pushed.stderr
    yield made
    assert made.end() == 0
    assert remains(made.data_dir) == []


def publish(cloud: Cloud, name: str, *options: str) -> str:
    """A function of the image with SnapStart, and its version 1 once that can serve; returns what to invoke."""
    uri = f"{cloud.url.partition('://')[2]}/snap:latest"
    facts = ["--role", ROLE, "--timeout", "20", "--package-type", "Image", "--code", f"ImageUri={uri}"]
    snap_start = ["--snap-start", "ApplyOn=PublishedVersions"]
    cloud.aws("lambda", "create-function", "--function-name", name, *facts, *snap_start, *options)
    cloud.aws("lambda", "wait", "function-active-v2", "--function-name", name)
    version = cloud.aws("lambda", "publish-version", "--function-name", name)["Version"]
    waiter = cloud.client("lambda").get_waiter("published_version_active")
    waiter.wait(FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return f"{name}:{version}"


def call(cloud: Cloud, target: str, sleep_s: float = 0) -> dict[str, Any]:
    answer = cloud.client("lambda").invoke(FunctionName=target, Payload=json.dumps({"sleep": sleep_s}))
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def messages(cloud: Cloud, name: str) -> list[str]:
    found = cloud.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [event["message"] for event in found]


@pytest.fixture(scope="module")
def target(cloud: Cloud) -> str:
    return publish(cloud, "snap")


def test_environments_of_an_image_s_version_are_restored(cloud: Cloud, target: str) -> None:
    state = cloud.aws("lambda", "get-function-configuration", "--function-name", "snap", "--qualifier", "1")
    assert state["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda _: call(cloud, target, 0.4), range(2))
    assert one["born"] == two["born"]
    for different in ("random", "request", "namespace"):
        assert one[different] != two[different]
    assert (one["order"], one["type"]) == (["init", "before", "after"], "snap-start")
    assert one["uid"] != 0
    restored = cloud.records("restored", "snap")
    assert {record["origin"] for record in restored} <= {"fork", "spare"}
    lines = messages(cloud, "snap")
    assert sum(line.startswith("RESTORE_START") for line in lines) == len(restored)
    assert sum(line.startswith("RESTORE_REPORT Restore Duration: ") for line in lines) == len(restored)
    reports = [line for line in lines if line.startswith("REPORT")]
    assert all(
        re.search(r"\tRestore Duration: \d+\.\d\d ms\tBilled Restore Duration: \d+ ms", line) for line in reports
    )
    assert f"printed by {one['born']}\n" in lines


def test_what_its_snapshot_cannot_carry_is_a_warning_with_its_line(cloud: Cloud, target: str) -> None:
    assert call(cloud, target)["threads"] == 1  # the thread did not survive
    warnings = [line for line in messages(cloud, "snap") if line.startswith("[WARNING]")]
    text = "".join(warnings)
    assert len(warnings) == 4
    assert "snapshot of snap:1: app.py:6 binds a socket to an address during init" in text
    assert "snapshot of snap:1: app.py:7 opens a network connection during init" in text
    assert "snapshot of snap:1: app.py:8 starts a thread during init" in text
    assert "(alive: poller)" in text
    assert "snapshot of snap:1: app.py:9 reads credentials during init" in text


def test_an_image_without_awss_python_client_fails_with_the_reason(cloud: Cloud) -> None:
    config = json.dumps({"EntryPoint": ["/bin/sh", "-c", "exit 4"]})
    with pytest.raises(WaiterError):
        publish(cloud, "other", "--image-config", config)
    failed = cloud.aws("lambda", "get-function-configuration", "--function-name", "other", "--qualifier", "1")
    assert (failed["State"], failed["SnapStart"]["OptimizationStatus"]) == ("Failed", "Off")
    assert "the image's entry point did not start AWS's runtime client for Python" in failed["StateReason"]


def test_a_server_killed_takes_its_frozen_environments_along_and_the_next_one_serves(cloud: Cloud, target: str) -> None:
    before = call(cloud, target)["born"]
    eventually(lambda: "FROZEN" in freezer_states(cloud.data_dir / "containers"))
    cloud.end(signal.SIGKILL)
    eventually(lambda: not [found for found in remains(cloud.data_dir, 0) if not found.startswith("control group")])
    cloud.start()
    again = call(cloud, target)
    assert (again["type"], again["order"]) == ("snap-start", ["init", "before", "after"])
    assert again["born"] != before
