"""`preheat demo` by image: Dockerfile, registry, function, load, report, on a machine without Docker."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_cloud import HANDLER, preheat, remains

from preheat.sandbox.container import unusable

pytestmark = pytest.mark.timeout(300)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LOCUSTFILE = """
from locust import HttpUser, between, task


class User(HttpUser):
    wait_time = between(0.1, 0.2)

    @task
    def predict(self):
        self.client.post("/default/flowers", json={"values": [1]})
"""


@pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)")
def test_the_demo_builds_pushes_creates_and_serves_an_image(tmp_path: Path, lend_base: Callable[[Path], None]) -> None:
    project, data, run = tmp_path / "flowers", tmp_path / "data", tmp_path / "run"
    project.mkdir()
    lend_base(data)
    (project / "lambda_function.py").write_text(HANDLER)
    (project / "locustfile.py").write_text(LOCUSTFILE)
    (project / "Dockerfile").write_text(
        f"FROM public.ecr.aws/lambda/python:{PYTHON}\nRUN mkdir -p /opt/data && date > /opt/data/built\n"
        'COPY lambda_function.py ${LAMBDA_TASK_ROOT}/\nCMD ["lambda_function.lambda_handler"]\n'
    )
    amount = ("--users", "3", "--spawn-rate", "3", "--run-time", "3s")
    done = preheat(
        "demo", "--project", str(project), *amount, "--out", str(run), "--data-dir", str(data), timeout_s=280
    )
    assert done.returncode == 0, done.stderr
    assert "builder preheat build (no Docker), preheat's own push; sandbox container (" in done.stdout
    for step in (
        "RUN mkdir -p /opt/data",
        "repository flowers is there",
        "pushed 127.0.0.1:",
        "function flowers: Active",
    ):
        assert step in done.stderr, step
    assert "Labels are exact, by request id: 0 of " in done.stdout
    assert json.loads((run / "summary.json").read_text())["failed"] == {}
    record = json.loads((data / "deployments/flowers.json").read_text())
    assert record["image_uri"].endswith("/flowers:latest")
    assert json.loads(record["sample"]["response"]["body"])["values"] is None
    assert remains(data) == []
    # the cloud's own records say that it was an image: no INIT_START, and its layers are in the store
    assert not any("INIT_START" in event["message"] for event in record["sample"]["log_events"])
    assert len(list((data / "layers").iterdir())) == 4  # two of the base, the RUN's and the COPY's
