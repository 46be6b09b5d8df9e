"""What a server owes when it ends: nothing acknowledged is lost, nothing is left behind, the next request works."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import BIN, HANDLER, Cloud, ask, clean_environment, eventually, left_over, preheat, remains

NAME = "light"
LOCUSTFILE = f"""
from locust import FastHttpUser, constant, task


class User(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def ask(self):
        self.client.post("/default/{NAME}", json={{"say": "under load", "sleep": 0.02}})
"""

DAEMON = "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
"""In front of a handler's source: something that does not notice when the server dies."""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data").start()
    yield made
    made.end(signal.SIGKILL)
    Cloud(made.data_dir).start().end()  # reaps what a test that failed may have left


@contextlib.contextmanager
def running(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program beside the test, its output in a file, ended with the block whatever happens in it."""
    with output.open("wb") as out:
        process = subprocess.Popen(command, env=clean_environment(), stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def serving(cloud: Cloud) -> int:
    functions = ask(f"{cloud.url}/_preheat/status").json()["functions"]
    count: int = functions.get(NAME, {}).get("serving", 0)
    return count


def orphans(cloud: Cloud) -> list[str]:
    """Processes of environments that a killed server has left."""
    return [one for one in left_over(cloud.data_dir) if one.startswith("process")]


def dismiss_guardian(cloud: Cloud) -> None:
    """Kill the process that ends what a killed server leaves, where there is one (`sandbox/guardian.py`)."""
    for children in Path(f"/proc/{cloud.pid}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            if b"THAWED" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def test_sigkill_under_load_loses_nothing_and_the_next_server_clears_up(cloud: Cloud, tmp_path: Path) -> None:
    url = f"{cloud.host(cloud.create_api(NAME, cloud.create_function(NAME, DAEMON + HANDLER)))}/default/{NAME}"
    locustfile = tmp_path / "locustfile.py"
    locustfile.write_text(LOCUSTFILE)
    argv = ["-f", str(locustfile), "--host", url.removesuffix(f"/default/{NAME}"), "--users", "8", "--spawn-rate", "8"]
    with running([str(BIN / "locust"), *argv, "--headless"], tmp_path / "locust.log"):
        eventually(lambda: len(cloud.records("invocation")) > 40, 60)
        before = cloud.journal()
        logged = log_lines(cloud)
        dismiss_guardian(cloud)  # it would be as quick as the next server
        assert cloud.end(signal.SIGKILL) == -signal.SIGKILL
        killed_ms = time.time() * 1000
        abandoned = set(orphans(cloud))
        assert abandoned  # else the rest would prove nothing
        cloud.start()
        assert not abandoned & set(orphans(cloud))
        eventually(lambda: [one for one in cloud.records("invocation") if one["at_ms"] > killed_ms])

    after = cloud.journal()
    assert after[: len(before)] == before
    assert log_lines(cloud)[: len(logged)] == logged
    started = {one["environment"] for one in after if one["type"] == "environment_started" and one["at_ms"] > killed_ms}
    assert started
    assert {one["environment"] for one in kinds(after, "invocation") if one["at_ms"] > killed_ms} <= started
    assert [one["FunctionName"] for one in cloud.client("lambda").list_functions()["Functions"]] == [NAME]
    answer = ask(url, b'{"values": [1]}')
    assert (answer.status, json.loads(answer.body)["values"]) == (200, [1])
    assert cloud.end() == 0
    assert remains(cloud.data_dir) == []


def kinds(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["type"] == kind]


def log_lines(cloud: Cloud) -> list[str]:
    """The oldest stream's messages: it goes on to exist, and nothing is added to it after its server's death."""
    logs = cloud.client("logs")
    group = f"/aws/lambda/{NAME}"
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    oldest = min(streams, key=lambda stream: (stream["creationTime"], stream["logStreamName"]))["logStreamName"]
    events = logs.get_log_events(logGroupName=group, logStreamName=oldest, startFromHead=True)["events"]
    return [event["message"] for event in events]


def test_sigkill_while_a_function_is_being_updated_leaves_a_function_that_works(cloud: Cloud) -> None:
    cloud.create_function(NAME)
    client = cloud.client("lambda")
    updated = client.update_function_configuration(FunctionName=NAME, MemorySize=640)
    cloud.end(signal.SIGKILL)
    cloud.start()
    client = cloud.client("lambda")
    client.get_waiter("function_updated_v2").wait(FunctionName=NAME)
    found = client.get_function_configuration(FunctionName=NAME)
    assert (found["MemorySize"], found["CodeSha256"]) == (640, updated["CodeSha256"])
    assert client.invoke(FunctionName=NAME, Payload=b"{}").get("FunctionError") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_end_finishes_the_request_in_flight(cloud: Cloud, number: int) -> None:
    url = f"{cloud.host(cloud.create_api(NAME, cloud.create_function(NAME)))}/default/{NAME}"
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, url, b'{"sleep": 1, "values": [7]}')
        eventually(lambda: serving(cloud) == 1)
        cloud.send(number)
        answer = asked.result(30)
    assert (answer.status, json.loads(answer.body)["values"]) == (200, [7])
    assert cloud.wait() == 0
    assert remains(cloud.data_dir) == []
    cloud.start()
    (record,) = cloud.records("invocation")
    assert record["status"] == "ok"
    (stopped,) = cloud.records("environment_stopped")
    assert (stopped["reason"], stopped["served"]) == ("shutdown", 1)


def test_daemons_of_a_handler_do_not_outlive_the_server(cloud: Cloud) -> None:
    source = "import subprocess\nchild = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    cloud.create_function(NAME, source + "def lambda_handler(event, context): return child.pid\n")
    pid = json.loads(cloud.client("lambda").invoke(FunctionName=NAME)["Payload"].read())
    assert Path(f"/proc/{pid}").exists()
    done = preheat("down", "--data-dir", str(cloud.data_dir))
    assert (done.returncode, done.stdout) == (0, "preheat is down\n")
    assert cloud.wait() == 0
    assert remains(cloud.data_dir) == []


def test_ctrl_c_keeps_the_run(cloud: Cloud, tmp_path: Path) -> None:
    host = cloud.host(cloud.create_api(NAME, cloud.create_function(NAME)))
    locustfile, out = tmp_path / "locustfile.py", tmp_path / "run"
    locustfile.write_text(LOCUSTFILE)
    argv = ["load", NAME, "--host", host, "--locustfile", str(locustfile), "--users", "3", "--out", str(out), "--json"]
    command = [str(BIN / "preheat"), *argv, "--quiet", "--data-dir", str(cloud.data_dir)]
    with running(command, tmp_path / "load.json") as load:
        eventually(lambda: len(cloud.records("invocation")) > 20, 60)
        asked_s = time.time()
        load.send_signal(signal.SIGINT)
        assert load.wait(60) == 130
    summary = json.loads((tmp_path / "load.json").read_text())
    assert (summary["exit_code"], summary["failed"], summary["unrecorded"]) == (130, 0, 0)
    rows = (out / "requests.csv").read_text().splitlines()[1:]
    assert len(rows) == summary["requests"] > 20
    facts = json.loads((out / "run.json").read_text())
    assert facts["exit_code"] == 130
    assert facts["finished_at"] - asked_s < 40
    assert (out / "journal.jsonl").stat().st_size > 0
    assert not [entry for entry in Path("/proc").iterdir() if runs_locust(entry, out)]

    report = preheat("report", str(out), "--json", "--quiet")
    assert report.returncode == 0, report.stderr
    found = json.loads(report.stdout)
    assert (found["requests"], found["unmatched"], found["accounting_ok"]) == (len(rows), 0, True)


def runs_locust(process: Path, out: Path) -> bool:
    try:
        return os.fsencode(out) in (process / "cmdline").read_bytes()
    except OSError:
        return False
