"""The recorder inside a real Locust: every row against what the server saw."""

from __future__ import annotations

import csv
import socket
from itertools import pairwise
from pathlib import Path

import pytest

from preheat.load.plan import LoadPlan
from preheat.load.rows import COLUMNS
from preheat.load.run import Result, run

MIXED = """
import random
from locust import HttpUser, FastHttpUser, constant, task
from geventhttpclient.client import HTTPClientPool
from urllib3 import PoolManager

def path():
    return random.choice(["/a", "/a", "/a?close=1", "/a?status=500"])

class Plain(HttpUser):
    wait_time = constant(0.2)
    fixed_count = 2
    def on_start(self):
        self.client.verify = False
    @task
    def ask(self):
        self.client.post(path(), json={"values": [1]}, name="plain, two")
        self.client.get("/second", name="second")

class Sharing(HttpUser):
    wait_time = constant(0.05)
    fixed_count = 2
    pool_manager = PoolManager(maxsize=1, block=False, cert_reqs="CERT_NONE")
    def on_start(self):
        self.client.verify = False
    @task
    def ask(self):
        with self.client.get(path(), name="sharing", catch_response=True) as response:
            response.failure("two\\nlines") if response.status_code == 500 else response.success()

class Fast(FastHttpUser):
    wait_time = constant(0.05)
    fixed_count = 2
    @task
    def ask(self):
        with self.client.get(path(), name="fast", catch_response=True) as response:
            response.success()

class FastSharing(FastHttpUser):
    wait_time = constant(0.05)
    fixed_count = 2
    client_pool = HTTPClientPool(concurrency=2, ssl_context_factory=__import__("ssl")._create_unverified_context,
                                 insecure=True)
    @task
    def ask(self):
        self.client.post(path(), json={"values": [1]}, name="fast sharing")
"""


def load(
    tmp_path: Path, host: str, text: str, users: int = 8, run_time_s: float = 2
) -> tuple[Result, list[dict[str, str]]]:
    locustfile = tmp_path / "locustfile.py"
    locustfile.write_text(text, "utf-8")
    plan = LoadPlan(
        "iris", host, locustfile, tmp_path / "run", users=users, spawn_rate=users * 4, run_time_s=run_time_s
    )
    result = run(plan, None)
    with plan.requests_csv.open(encoding="utf-8", newline="") as file:
        return result, list(csv.DictReader(file))


def test_every_row_is_what_the_server_saw(tmp_path: Path, any_server) -> None:  # type: ignore[no-untyped-def]
    result, rows = load(tmp_path, any_server.url, MIXED)
    assert result.exit_code == 0, result.plan.console_path.read_text()
    assert tuple(rows[0]) == COLUMNS
    assert [row["index"] for row in rows] == [str(number) for number in range(len(rows))]
    assert {row["request_id"] for row in rows} == set(any_server.seen)
    assert {row["name"] for row in rows} == {"plain, two", "second", "sharing", "fast", "fast sharing"}
    assert {row["user"] for row in rows} == {str(number) for number in range(1, 9)}
    for row in rows:
        seen = any_server.seen[row["request_id"]]
        assert row["connection"] == ("new" if seen.first_on_connection else "reused"), row
        assert row["url"] == any_server.url + seen.target
        assert row["status"] == ("500" if "status=500" in seen.target else "200")
        assert row["bytes"] == "5"
        check_times(row, secure=any_server.url.startswith("https"))
    assert sum(row["connection"] == "new" for row in rows) == any_server.connections
    assert {row["connection"] for row in rows if row["name"] == "fast sharing"} == {"new", "reused"}
    check_errors(rows)
    assert result.tally.requests == len(rows)
    assert result.tally.failures == sum(bool(row["error"]) for row in rows)


def check_times(row: dict[str, str], *, secure: bool) -> None:
    """Set-up times stand where a connection was set up, and are parts of the response time."""
    assert bool(row["connect_ms"]) == (row["connection"] == "new")
    assert bool(row["tls_ms"]) == (row["connection"] == "new" and secure)
    parts_ms = float(row["connect_ms"] or 0) + float(row["tls_ms"] or 0)
    assert 0 <= parts_ms <= float(row["response_ms"])
    assert float(row["tls_ms"] or 1) > 0
    assert float(row["intended_start_s"]) <= float(row["start_s"])


def check_errors(rows: list[dict[str, str]]) -> None:
    """Locust's own verdict: catch_response turned fast's 500 into a success and sharing's into its own text."""
    for row in rows:
        failed = row["status"] == "500" and row["name"] != "fast"
        assert bool(row["error"]) == failed
        if failed and row["name"] == "sharing":
            assert "two lines" in row["error"]


WAITING = """
import time
from locust import HttpUser, constant, task

class Waiting(HttpUser):
    wait_time = constant(0.3)
    @task
    def ask(self):
        self.client.get("/first")
        self.client.get("/second")
        busy_until = time.perf_counter() + 0.15
        while time.perf_counter() < busy_until:  # four of these keep the others from starting in time
            pass
"""


def test_intended_start_is_the_end_of_the_wait(tmp_path: Path, server) -> None:  # type: ignore[no-untyped-def]
    _, rows = load(tmp_path, server.url, WAITING, users=4, run_time_s=3)
    late = []
    for user in {row["user"] for row in rows}:
        own = [row for row in rows if row["user"] == user]
        assert own[0]["intended_start_s"] == own[0]["start_s"]  # nothing was due before the first
        for before, row in pairwise(own):
            intended_s = float(row["intended_start_s"])
            if row["name"] == "/second":
                assert row["intended_start_s"] == row["start_s"]
            else:
                ended_s = float(before["start_s"]) + float(before["response_ms"]) / 1000
                assert intended_s >= ended_s + 0.3 - 0.002
                late.append(float(row["start_s"]) - intended_s)
    assert len(late) >= 4
    assert max(late) > 0.02  # the busy users held the others up, and the rows say so


def test_a_refused_connection_is_a_row(tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        result, rows = load(tmp_path, host, MIXED, users=8, run_time_s=1)
    assert result.exit_code == 0
    assert {row["name"] for row in rows} >= {"plain, two", "sharing", "fast", "fast sharing"}
    for row in rows:
        assert (row["status"], row["connection"], row["connect_ms"], row["request_id"]) == ("0", "new", "", "")
        assert bool(row["error"]) == (row["name"] not in ("fast", "sharing"))  # those call success() whatever comes


@pytest.mark.parametrize(
    ("text", "reason"), [("import no_such_module", "no_such_module"), ("x = 1", "No User class found")]
)
def test_a_broken_locustfile_is_told_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    from preheat.kernel.errors import PreheatError

    with pytest.raises(PreheatError, match=reason) as caught:
        load(tmp_path, "http://127.0.0.1:1", text)
    assert "\n" not in str(caught.value)
