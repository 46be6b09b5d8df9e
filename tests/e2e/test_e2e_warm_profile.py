"""`preheat warm` and `preheat profile` on a real local cloud."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from e2e_cloud import BIN, Cloud, preheat

HOLDS = """
import time
import asyncio

time.sleep(0.5)


def lambda_handler(event, context):
    if event.get("preheat") == "warm":
        time.sleep(event["hold_ms"] / 1000)
    return {"statusCode": 200}
"""


@pytest.fixture(scope="module")
def holds(cloud: Cloud) -> str:
    cloud.create_function("holds", HOLDS)
    return "holds"


def test_as_many_environments_stay_warm_as_were_asked_for(cloud: Cloud, holds: str) -> None:
    options = ["--every", "4s", "--for", "5s", "--hold-ms", "400", "--concurrency", "3", "--json"]
    done = preheat("warm", holds, *options, "--endpoint-url", cloud.url)
    assert done.returncode == 0, done.stderr
    first, second, summary = map(json.loads, done.stdout.splitlines())
    assert (first["environments"], first["cold"], first["wanted"]) == (3, 3, 3)
    assert min(first["cold_ms"]) >= 500
    assert (second["environments"], second["cold"]) == (3, 0)
    assert (summary["rounds"], summary["cold"], summary["fewest_environments"]) == (2, 3, 3)
    served = {record["environment"] for record in cloud.records("invocation", holds)}
    assert len(served) == 3


def test_ctrl_c_ends_it_with_a_summary(cloud: Cloud, holds: str) -> None:
    argv = [str(BIN / "preheat"), "warm", holds, "--every", "1h", "--endpoint-url", cloud.url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "1 of 1 environments" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert rest.startswith("1 rounds, 1 invocations")
    assert "Traceback" not in errors


def test_mistakes_are_told_in_one_line(cloud: Cloud) -> None:
    done = preheat("warm", "no-such-function", "--endpoint-url", cloud.url)
    assert (done.returncode, done.stdout) == (254, "")
    assert "ResourceNotFoundException" in done.stderr
    done = preheat("warm", "holds", "--every", "often", "--endpoint-url", cloud.url)
    assert (done.returncode, done.stderr) == (252, "preheat: --every often: give a time such as 90s, 5m or 1h30m\n")


def test_a_deployed_functions_profile_agrees_with_its_init_duration(cloud: Cloud, holds: str, tmp_path: Path) -> None:
    options = ["--repeat", "3", "--out", str(tmp_path / "out"), "--json", "--quiet"]
    done = preheat("profile", holds, *options, "--data-dir", str(cloud.data_dir), "--endpoint-url", cloud.url)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    reported_ms = min(record["init_ms"] for record in cloud.records("init_done", holds))
    assert found["init_ms"] == pytest.approx(reported_ms, rel=0.35)  # others keep the machine busy meanwhile
    assert found["profile_ms"] == pytest.approx(found["init_ms"], rel=0.25)
    assert [row["module"] for row in found["unused"]] == ["asyncio"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"profile.html", "profile.json", "flame.png"}


def test_a_directorys_profile_is_printed(tmp_path: Path) -> None:
    project = tmp_path / "small"
    project.mkdir()
    (project / "lambda_function.py").write_text(HOLDS)
    (project / "sample.json").write_text("{}")
    done = preheat("profile", "small/", "--repeat", "2", "--invocations", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "time.sleep(0.5)" in done.stdout
    assert "asyncio  (lambda_function.py:3)" in done.stdout
    assert (tmp_path / ".preheat" / "profiles" / "small" / "profile.html").is_file()


def test_a_profile_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    done = preheat("profile", "no/where", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (252, "preheat: no/where: no such directory")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "lambda_function.py").write_text("import not_there\n")
    done = preheat("profile", "bad/", "--quiet", cwd=tmp_path)
    assert done.returncode == 255
    assert done.stderr == (
        "preheat: the function's init fails: Runtime.ImportModuleError: "
        "Unable to import module 'lambda_function': No module named 'not_there'\n"
    )
