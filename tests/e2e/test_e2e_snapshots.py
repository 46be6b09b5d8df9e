"""What environments of one snapshot share and what they do not, through the AWS API with functions from a zip."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from e2e_cloud import ROLE, Cloud, eventually, freezer_states, remains, zipped

from preheat.sandbox.cgroup import hierarchies

FACTS = {"Runtime": "python3.11", "Role": ROLE, "Handler": "lambda_function.lambda_handler", "Timeout": 20}

SHARED = """
import os, random, ssl, time, uuid
import numpy

AT_INIT = str(uuid.uuid4())
kept = {}


def lambda_handler(event, context):
    time.sleep(0.4)  # so that requests at the same time need an environment each
    if "secret" in event:
        kept["secret"] = os.environ["SECRET"] = event["secret"]
        open("/tmp/secret", "w").write(event["secret"])
    return {
        "init": AT_INIT,
        "random": random.random(),
        "numpy": float(numpy.random.random()),
        "uuid": str(uuid.uuid4()),
        "ssl": ssl.RAND_bytes(16).hex(),
        "request": context.aws_request_id,
        "stream": context.log_stream_name,
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
        "mounts": os.readlink("/proc/self/ns/mnt"),
        "seen": [kept.get("secret"), os.environ.get("SECRET"), os.path.exists("/tmp/secret")],
    }
"""
HOOKS = """
import snapshot_restore_py

order = ["init"]


@snapshot_restore_py.register_before_snapshot
def before():
    order.append("before")


@snapshot_restore_py.register_after_restore
def after():
    order.append("after")


def lambda_handler(event, context):
    return order
"""
CARELESS = """
import os, socket, threading, time

listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
threading.Thread(target=time.sleep, args=(600,), daemon=True, name="poller").start()
key = os.environ["AWS_SECRET_ACCESS_KEY"]


def lambda_handler(event, context):
    return threading.active_count()
"""
COUNTER = """
import os, time, uuid

template, count = str(uuid.uuid4()), 0


def lambda_handler(event, context):
    global count
    count += 1
    time.sleep(event.get("sleep", 0))
    return [template, count, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""

OPENMP = """
import ctypes, os

openmp, libc = ctypes.CDLL(os.environ["LIBGOMP"]), ctypes.CDLL(None)


def team():
    openmp.GOMP_parallel(libc.getpid, None, 2, 0)
    return threads()


def threads():
    return len(os.listdir("/proc/self/task"))


at_init = team()


def lambda_handler(event, context):
    return [at_init, threads(), team()]
"""
DAEMON = """
import subprocess


def lambda_handler(event, context):
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid
"""

in_namespaces = pytest.mark.skipif(
    os.geteuid() != 0, reason="namespaces of its own need root, as `preheat doctor` says"
)


def publish(cloud: Cloud, name: str, source: str, **options: Any) -> str:
    """A function with SnapStart and its version 1, once that can serve; returns what to invoke."""
    client = cloud.client("lambda")
    apply_on = {"ApplyOn": options.pop("apply_on", "PublishedVersions")}
    client.create_function(FunctionName=name, Code={"ZipFile": zipped(source)}, SnapStart=apply_on, **FACTS, **options)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    version = client.publish_version(FunctionName=name)["Version"]
    wait = {"Delay": 1, "MaxAttempts": 60}
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version, WaiterConfig=wait)
    return f"{name}:{version}"


def call(cloud: Cloud, target: str, event: Any = None) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=target, Payload=json.dumps(event or {}))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


def at_once(asks: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(asks)) as threads:
        return [asked.result() for asked in [threads.submit(ask) for ask in asks]]


def state(cloud: Cloud, target: str) -> dict[str, Any]:
    name, _, version = target.partition(":")
    return dict(cloud.client("lambda").get_function_configuration(FunctionName=name, Qualifier=version))


@in_namespaces
def test_two_environments_share_init_and_nothing_else(cloud: Cloud) -> None:
    import numpy

    packages = {"PYTHONPATH": str(Path(numpy.__file__).parents[1])}
    target = publish(cloud, "shared", SHARED, Environment={"Variables": packages})
    one, two = at_once([lambda: call(cloud, target, {"secret": "s3cret"}), lambda: call(cloud, target)])
    assert one["init"] == two["init"]
    for different in ("random", "numpy", "uuid", "ssl", "request", "stream", "pid_namespace", "mounts"):
        assert one[different] != two[different], different
    assert one["seen"] == ["s3cret", "s3cret", True]
    assert two["seen"] == [None, None, False]

    again = at_once([lambda: call(cloud, target)] * 2)
    by_stream = {answer["stream"]: answer["seen"] for answer in again}
    assert by_stream == {one["stream"]: ["s3cret", "s3cret", True], two["stream"]: [None, None, False]}


def test_hooks_of_a_zip_run_before_the_snapshot_and_after_each_restore(cloud: Cloud) -> None:
    target = publish(cloud, "hooks", HOOKS)
    assert call(cloud, target) == ["init", "before", "after"]
    assert call(cloud, target) == ["init", "before", "after"]
    (started,) = cloud.records("environment_started", "hooks")
    assert started["init_type"] == "snap-start"


def test_what_a_snapshot_cannot_carry_is_a_warning_with_its_line(cloud: Cloud) -> None:
    target = publish(cloud, "careless", CARELESS)
    assert call(cloud, target) == 1  # the thread did not survive
    found = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/careless", filterPattern="WARNING")
    warnings = [event["message"] for event in found["events"]]
    assert len(warnings) == 4
    assert all(warning.startswith("[WARNING] snapshot of careless:1: lambda_function.py:") for warning in warnings)
    text = "".join(warnings)
    assert "lambda_function.py:4 binds a socket to an address during init" in text
    assert "lambda_function.py:5 opens a network connection during init" in text
    assert "lambda_function.py:6 starts a thread during init" in text
    assert "(alive: poller)" in text
    assert "lambda_function.py:7 reads credentials during init" in text


def test_a_library_that_has_run_openmp_during_init_runs_it_in_every_environment(cloud: Cloud) -> None:
    import numpy

    (library,) = Path(numpy.__file__).parents[1].glob("scikit_learn.libs/libgomp*")
    target = publish(cloud, "openmp", OPENMP, Environment={"Variables": {"LIBGOMP": str(library)}})
    assert call(cloud, target) == [2, 1, 2]
    found = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/openmp", filterPattern="WARNING")
    assert found["events"] == []


def test_a_version_whose_init_fails_is_failed_and_says_why(cloud: Cloud) -> None:
    with pytest.raises(WaiterError):
        publish(cloud, "broken", "raise RuntimeError('no model here')\n")
    failed = state(cloud, "broken:1")
    assert (failed["State"], failed["SnapStart"]["OptimizationStatus"]) == ("Failed", "Off")
    reason = "An error occurred during function initialization. RuntimeError: no model here"
    assert (failed["StateReason"], failed["StateReasonCode"]) == (reason, "FunctionError")
    with pytest.raises(ClientError) as refused:
        call(cloud, "broken:1")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


@in_namespaces
def test_environments_outlive_their_template_and_the_next_one_is_taken_anew(cloud: Cloud) -> None:
    target = publish(cloud, "counter", COUNTER)
    first, count, _ = call(cloud, target)
    assert count == 1
    os.kill(template_of(cloud, "counter"), signal.SIGKILL)
    assert call(cloud, target)[:2] == [first, 2]
    # a second request at once needs a second environment: restored from a template that has run init again
    answers = at_once([lambda: call(cloud, target, {"sleep": 1})] * 2)
    assert sorted(answers, key=lambda answer: answer[1], reverse=True)[0] == [first, 3, "snap-start"]
    assert len({template for template, _, _ in answers}) == 2
    assert {count for _, count, _ in at_once([lambda: call(cloud, target, {"sleep": 0.3})] * 2)} == {2, 4}


def template_of(cloud: Cloud, function: str) -> int:
    """The child of the server that has a function's name and the machine's own PID namespace."""
    wanted, own = f"AWS_LAMBDA_FUNCTION_NAME={function}".encode(), Path("/proc/self/ns/pid").readlink()
    children = Path(f"/proc/{cloud.pid}/task/{cloud.pid}/children").read_text().split()
    found = []
    for pid in map(int, children):
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if wanted in variables and Path(f"/proc/{pid}/ns/pid").readlink() == own:
                found.append(pid)
    (pid,) = found
    return pid


@pytest.mark.skipif(not hierarchies(), reason="nothing is frozen by control group here, as `preheat doctor` says")
def test_a_server_killed_takes_its_frozen_environments_along(cloud: Cloud) -> None:
    target = publish(cloud, "killed", DAEMON)
    call(cloud, target)
    call(cloud, "killed")
    eventually(lambda: "FROZEN" in freezer_states(cloud.data_dir / "environments"))
    cloud.end(signal.SIGKILL)
    eventually(lambda: not [found for found in remains(cloud.data_dir, 0) if not found.startswith("control group")])
    cloud.start()
    call(cloud, target)


def test_provisioned_environments_are_ready_before_the_first_request(cloud: Cloud) -> None:
    target = publish(cloud, "ready", f"import time\ntime.sleep(0.5)\n{COUNTER}", apply_on="None")
    client, config = cloud.client("lambda"), {"FunctionName": "ready", "Qualifier": "1"}
    asked = client.put_provisioned_concurrency_config(**config, ProvisionedConcurrentExecutions=2)
    assert asked["Status"] == "IN_PROGRESS"
    done = eventually(lambda: ready(client.get_provisioned_concurrency_config(**config)))
    assert done["AvailableProvisionedConcurrentExecutions"] == done["AllocatedProvisionedConcurrentExecutions"] == 2
    assert len(cloud.records("environment_started", "ready")) == 2
    assert call(cloud, target)[1:] == [1, "provisioned-concurrency"]
    (served,) = cloud.records("invocation", "ready")
    assert (served["cold"], served["init_type"]) == (True, "provisioned-concurrency")
    assert served["wait_ms"] < 100  # init takes 500
    client.delete_provisioned_concurrency_config(**config)
    eventually(lambda: len(cloud.records("environment_stopped", "ready")) >= 2)


def ready(config: dict[str, Any]) -> dict[str, Any] | None:
    assert config["Status"] in ("IN_PROGRESS", "READY"), config
    return config if config["Status"] == "READY" else None
