"""What removes cold starts, from `preheat deploy` to the report: snapshots and provisioned environments."""

from __future__ import annotations

import csv
import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import Cloud, ask, preheat, remains

SOURCE = """
import json, os, random, time, uuid

time.sleep(0.5)  # what an import of a model's libraries costs
BORN = str(uuid.uuid4())


def lambda_handler(event, context):
    time.sleep(0.02)
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    answer = {"born": BORN, "unique": str(uuid.uuid4()), "random": random.random(), "type": kind}
    return {"statusCode": 200, "body": json.dumps(answer)}
"""
LOCUSTFILE = """
import os

from locust import HttpUser, constant, task


class User(HttpUser):
    wait_time = constant(0.5)

    @task
    def ask(self):
        self.client.post(f"/default/{os.environ['FUNCTION_NAME']}", json={})
"""


def deploy(cloud: Cloud, project: Path, *options: str) -> str:
    """The URL of a function that takes half a second to initialise."""
    project.mkdir()
    (project / "lambda_function.py").write_text(SOURCE)
    (project / "locustfile.py").write_text(LOCUSTFILE)
    where = ("--endpoint-url", cloud.url, "--data-dir", str(cloud.data_dir))
    done = preheat("deploy", str(project), *options, *where, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["url"])


def study(cloud: Cloud, function: str, users: int, run: Path) -> dict[str, Any]:
    """A short load and its summary."""
    amount = ("--users", str(users), "--spawn-rate", str(users), "--run-time", "3s")
    done = preheat("load", function, *amount, "--out", str(run), "--data-dir", str(cloud.data_dir), "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    report = preheat("report", str(run), "--json", "--quiet")
    assert report.returncode == 0, report.stderr
    summary: dict[str, Any] = json.loads(report.stdout)
    assert (summary["failed"], summary["unmatched"], summary["accounting_ok"]) == ({}, 0, True)
    return summary


@pytest.fixture(scope="module")
def url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> str:
    return deploy(cloud, tmp_path_factory.mktemp("projects") / "quick", "--snapstart")


def test_the_published_version_has_a_snapshot(cloud: Cloud, url: str) -> None:
    version = cloud.client("lambda").get_alias(FunctionName="quick", Name="live")["FunctionVersion"]
    found = cloud.aws("lambda", "get-function-configuration", "--function-name", "quick", "--qualifier", version)
    assert found["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert found["State"] == "Active"


def test_cold_starts_restore_what_init_made_once(cloud: Cloud, url: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    summary = study(cloud, "quick", 8, run)
    assert summary["cold"] >= 2
    with (run / "requests.csv").open() as rows:
        assert {row["status"] for row in csv.DictReader(rows)} == {"200"}

    records = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    cold = [record for record in records if record["type"] == "invocation" and record["cold"]]
    assert {record["init_type"] for record in cold} == {"snap-start"}
    assert all(record["init_ms"] is None and record["restore_ms"] < 400 for record in cold)  # init takes 500
    assert not any(record["restore_ms"] for record in records if record["type"] == "invocation" and not record["cold"])

    logs = cloud.client("logs")
    found = logs.filter_log_events(logGroupName="/aws/lambda/quick", filterPattern='"REPORT RequestId"')["events"]
    restored = [event["message"] for event in found if "Restore Duration" in event["message"]]
    assert len(restored) >= len(cold)
    assert all(
        re.search(r"\tRestore Duration: \d+\.\d\d ms\tBilled Restore Duration: \d+ ms\t\n$", m) for m in restored
    )


def test_environments_share_init_and_not_randomness(cloud: Cloud, url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = [answer.json() for answer in threads.map(lambda _: ask(url, b"{}"), range(6))]
    assert len({record["environment"] for record in cloud.records("invocation", "quick")[-6:]}) > 1
    assert len({answer["born"] for answer in answers}) == 1
    assert len({answer["unique"] for answer in answers}) == 6
    assert len({answer["random"] for answer in answers}) == 6
    assert {answer["type"] for answer in answers} == {"snap-start"}


def test_provisioned_environments_are_there_before_the_first_request(cloud: Cloud, tmp_path: Path) -> None:
    deploy(cloud, tmp_path / "ready", "--provisioned", "3")
    summary = study(cloud, "ready", 3, tmp_path / "run")
    assert summary["environments_started"] == 3
    records = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    started = [record for record in records if record["type"] == "environment_started"]
    assert {record["init_type"] for record in started} == {"provisioned-concurrency"}
    assert all(record["wait_ms"] < 400 for record in records if record["type"] == "invocation")  # init takes 500


def test_after_sigkill_the_version_serves_again_and_nothing_is_left(cloud: Cloud, url: str) -> None:
    assert ask(url, b"{}").status == 200
    cloud.end(signal.SIGKILL)
    cloud.start()
    answer = ask(url, b"{}")
    assert (answer.status, answer.json()["type"]) == (200, "snap-start")
    assert cloud.end() == 0
    assert remains(cloud.data_dir) == []
    cloud.start()
