"""The whole study on the real Iris model: deploy, call, load, report; then the assignment's own Locust command."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import BIN, ROOT, Cloud, ask, clean_environment, preheat, remains

pytestmark = pytest.mark.timeout(400)  # the first time scikit-learn is installed from the network
IRIS = ROOT / "examples" / "iris"
CACHE = ROOT / ".preheat" / "build"
"""Installing scikit-learn takes most of a minute: it is kept between runs, where `preheat deploy` keeps it too."""


@dataclass(frozen=True)
class Study:
    deployment: dict[str, Any]
    load: dict[str, Any]
    report: dict[str, Any]
    run: Path


@pytest.fixture(scope="module")
def study(cloud: Cloud) -> Study:
    data, run = cloud.data_dir, cloud.data_dir.parent / "run"
    with shared_packages(data / "build"):
        where = ("--endpoint-url", cloud.url)
        deployment = printed("deploy", str(IRIS), *where, "--data-dir", str(data), "--json", "--quiet")
    amount = ("--users", "100", "--spawn-rate", "50", "--run-time", "6s")
    load = printed("load", *amount, "--fresh", "--out", str(run), "--data-dir", str(data), "--json", "--quiet")
    return Study(deployment, load, printed("report", str(run), "--json", "--quiet"), run)


class shared_packages:
    """Lets a build directory use the repository's installed packages, and adds what it had to install itself."""

    def __init__(self, build: Path) -> None:
        self._build = build

    def __enter__(self) -> None:
        self._build.mkdir(parents=True)
        for packages in CACHE.glob("packages-*"):
            (self._build / packages.name).symlink_to(packages)

    def __exit__(self, *_: object) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        for packages in self._build.glob("packages-*"):
            if not packages.is_symlink() and not (CACHE / packages.name).exists():
                shutil.move(packages, CACHE / packages.name)


def printed(*arguments: str) -> dict[str, Any]:
    done = preheat(*arguments, timeout_s=300)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["schema"] == 1
    return document


def test_deploy_shows_an_answer_and_its_log(study: Study) -> None:
    sample = study.deployment["sample"]
    assert sample["response"]["status"] == 200
    assert json.loads(sample["response"]["body"]) == {"predictions": [0, 2], "species": ["setosa", "virginica"]}
    words = [event["message"].split()[0] for event in sample["log_events"]]
    assert (words[0], words[-2:]) == ("START", ["END", "REPORT"])
    assert "Init Duration" in sample["log_events"][-1]["message"]


def test_the_printed_curl_line_works(study: Study) -> None:
    done = subprocess.run(
        study.deployment["curl"], shell=True, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["species"] == ["setosa", "virginica"]
    assert study.deployment["url"] in study.deployment["invoke_web_request"]


@pytest.mark.parametrize("body", [b'{"values": [[5.1, 3.5', b"{}", b'{"values": [[1, 2]]}', b""])
def test_a_bad_body_is_the_handlers_400(study: Study, body: bytes) -> None:
    answer = ask(study.deployment["url"], body)
    assert answer.status == 400
    assert answer.json()["error"]


def test_every_request_is_recorded_and_joined(study: Study) -> None:
    with (study.run / "requests.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == study.load["requests"] == study.report["requests"] >= 100
    assert {row["status"] for row in rows} == {"200"}
    assert len({row["request_id"] for row in rows}) == len(rows)
    assert (study.load["failed"], study.load["unrecorded"]) == (0, 0)
    assert (study.report["unmatched"], study.report["unknown"], study.report["failed"]) == (0, 0, {})
    assert study.report["label_method"] == "request-id"
    assert study.report["ok"] == study.report["cold"] + study.report["warm"] == len(rows)


def test_cold_is_exactly_an_environments_first_request(study: Study) -> None:
    report = study.report
    assert report["cold"] >= 1
    assert report["cold"] + report["environments_never_served"] == report["environments_started"]
    assert report["accounting_ok"] is True
    lines = [json.loads(line) for line in (study.run / "journal.jsonl").read_text().splitlines()]
    assert report["environments_started"] == sum(line["type"] == "environment_started" for line in lines)
    served: dict[str, list[bool]] = {}
    for line in (line for line in lines if line["type"] == "invocation"):
        served.setdefault(line["environment"], []).append(line["cold"])
        assert (line["init_ms"] is not None) == line["cold"]
    assert all(flags[0] and not any(flags[1:]) for flags in served.values())


def test_cold_and_init_duration_agree_in_the_log(cloud: Cloud, study: Study) -> None:
    pages = cloud.client("logs").get_paginator("filter_log_events")
    since = int(json.loads((study.run / "run.json").read_text())["started_at"] * 1000)
    found = pages.paginate(logGroupName="/aws/lambda/iris", filterPattern="REPORT", startTime=since)
    reports = {
        event["message"].split()[2]: "Init Duration" in event["message"] for page in found for event in page["events"]
    }
    lines = [json.loads(line) for line in (study.run / "journal.jsonl").read_text().splitlines()]
    invocations = [line for line in lines if line["type"] == "invocation"]
    assert invocations
    assert all(reports[line["request_id"]] == line["cold"] for line in invocations)


def test_the_report_is_whole(study: Study) -> None:
    page = (study.run / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)  # self-contained
    figures = study.run / "figures"
    names = {path.stem for path in figures.glob("*.png")}
    assert len(names) >= 3
    assert names == {path.stem for path in figures.glob("*.svg")}
    notebook = json.loads((study.run / "performance_analysis.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    assert sum("image/png" in out.get("data", {}) for cell in code for out in cell["outputs"]) >= 3
    assert study.report == json.loads((study.run / "summary.json").read_text())


def test_every_field_is_in_the_reference(study: Study) -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    for name, document in (
        ("run.json", json.loads((study.run / "run.json").read_text())),
        ("summary.json", study.report),
    ):
        section = re.split(r"\n##+ ", text.partition(f"### {name}")[2])[0]
        assert set(document) <= set(re.findall(r"`(\w+)`", section)), name


@dataclass(frozen=True)
class Stock:
    """What the assignment's own command left, and what the cloud's journal knows of it."""

    folder: Path
    served: list[dict[str, Any]]


@pytest.fixture(scope="module")
def stock(cloud: Cloud, study: Study, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """With another host, fewer users and less time; everything else is the assignment's. The client is in Shenzhen."""
    folder = tmp_path_factory.mktemp("assignment")
    shutil.copy(IRIS / "locustfile.py", folder)
    command = (
        f"locust -f locustfile.py --host {study.deployment['host']} --users 10 --spawn-rate 20 --run-time 9s "
        '--csv "locust_logs/test" --csv-full-history --html "locust_logs/test_locust_report.html" '
        '--logfile "locust_logs/test_locust_logs.txt" --headless'
    )
    environment = clean_environment() | {"TZ": "Asia/Shanghai"}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    (folder / "locust_logs").mkdir()
    before = len(cloud.records("invocation", "iris"))
    functions = cloud.client("lambda")
    functions.update_function_configuration(FunctionName="iris", Description="without environments again")
    functions.get_waiter("function_updated_v2").wait(FunctionName="iris", WaiterConfig={"Delay": 1})
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Stock(folder / "locust_logs", cloud.records("invocation", "iris")[before:])


def test_the_assignments_locust_command_as_printed(stock: Stock) -> None:
    served = stock.served
    assert len(served) >= 10
    assert {record["status"] for record in served} == {"ok"}
    log = (stock.folder / "test_locust_logs.txt").read_text()
    assert len(re.findall(r"Response time: \d+\.\d\d ms", log)) == len(served)
    assert len(re.findall(r"Response status code: 200", log)) == len(served)
    for name in (
        "test_stats.csv",
        "test_stats_history.csv",
        "test_failures.csv",
        "test_exceptions.csv",
        "test_locust_report.html",
    ):
        assert (stock.folder / name).is_file()


def test_its_log_is_joined_to_the_functions_log(cloud: Cloud, stock: Stock, tmp_path: Path) -> None:
    """The client's answers bear the gateway's ids, and its times no zone: the log is joined to them in time."""
    fetched = ("--logs", "iris", "--target", "local", "--endpoint-url", cloud.url)
    report = printed("report", str(stock.folder), *fetched, "--out", str(tmp_path), "--json", "--quiet")
    cold = sum(record["cold"] for record in stock.served)
    assert cold >= 1
    assert (report["label_method"], report["requests"]) == ("log-join", len(stock.served))
    log = report["log"]
    assert log["matched"] + report["unmatched"] == len(stock.served)
    assert report["unmatched"] <= len(stock.served) // 4  # a machine with much else to do writes lines late
    assert log["cold_in_run"] == cold  # what the lines say is exact, whoever met them
    # Requests that waited for the same start are answered within the same milliseconds: then it is left open which.
    assert report["cold"] <= cold <= report["cold"] + report["unknown"] + log["cold_left_over"]
    assert report["cold"] == cold or report["label_confidence"] < 1
    assert log["outside"] > 0  # the run before is in the same log group
    assert log["matched"] + log["left_over"] + log["outside"] == log["reports"]
    assert log["clock"]["time_zone"] == "UTC+08:00"
    assert "requests-missing" not in {warning["code"] for warning in report["warnings"]}
    alone = printed("report", str(stock.folder / "test_locust_report.html"), "--out", str(tmp_path / "b"), "--json")
    assert (alone["requests"], alone["label_method"]) == (len(stock.served), "none")


def test_a_log_that_is_not_there_is_one_line(cloud: Cloud, stock: Stock, tmp_path: Path) -> None:
    done = preheat("report", str(stock.folder), "--logs", "nobody", "--endpoint-url", cloud.url, "--out", str(tmp_path))
    assert done.returncode == 254
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"preheat report: there is no log group /aws/lambda/nobody at {cloud.url}: ")


def test_two_runs_are_laid_side_by_side(study: Study, stock: Stock, tmp_path: Path) -> None:
    found = printed("compare", str(study.run), str(stock.folder), "--out", str(tmp_path), "--json")
    assert [run["requests"] for run in found["runs"]] == [study.report["requests"], len(stock.served)]
    assert found["sentence"]
    assert json.loads((tmp_path / "compare.json").read_text()) == found
    page = (tmp_path / "compare.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


def test_the_run_knows_how_its_function_was_packed(study: Study) -> None:
    run = json.loads((study.run / "run.json").read_text())
    assert (run["package_type"], run["architecture"], run["image_uri"]) == ("Zip", "x86_64", None)
    assert "deployed as a zip file, without ECR" in (study.run / "report.html").read_text()


def test_the_demo_runs_the_whole_loop_and_leaves_nothing(tmp_path: Path) -> None:
    """`make demo`, smaller, and without an image (`test_images_demo.py` has one)."""
    data, run = tmp_path / "data", tmp_path / "run"
    amount = ("--users", "5", "--spawn-rate", "5", "--run-time", "3s", "--package", "directory")
    with shared_packages(data / "build"):
        done = preheat("demo", *amount, "--out", str(run), "--data-dir", str(data), cwd=ROOT, timeout_s=300)
    assert done.returncode == 0, done.stderr
    steps = re.findall(r"^\[(\d)/5\]", done.stdout, re.MULTILINE)
    assert steps == ["1", "2", "3", "4", "5"]
    assert "Labels are exact, by request id: 0 of " in done.stdout
    assert (run / "report.html").is_file()
    assert json.loads((run / "summary.json").read_text())["failed"] == {}
    assert remains(data) == []
