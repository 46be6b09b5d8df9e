from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.kernel.errors import PreheatError
from preheat.load.plan import LoadPlan, check_extra, locust_arguments, new_run_folder, parse_run_time
from preheat.load.progress import Progress, line
from preheat.load.rows import Tally
from preheat.load.run import nearest_rank


def test_arguments_are_those_of_the_assignment() -> None:
    plan = LoadPlan("iris", "http://h", Path("locustfile.py"), Path("runs/x"), extra=("--tags", "a"))
    arguments = " ".join(locust_arguments(plan))
    assert "-f locustfile.py --host http://h --users 100 --spawn-rate 20 --run-time 60s" in arguments
    assert "--csv runs/x/locust_logs/test --csv-full-history" in arguments
    assert "--html runs/x/locust_logs/test_locust_report.html" in arguments
    assert "--logfile runs/x/locust_logs/test_locust_logs.txt --headless" in arguments
    assert arguments.endswith("--tags a")


def test_run_time_is_read_as_locust_does() -> None:
    texts = ["60", "60s", "5m", "1h30m", "1h1m1s", "2m"]
    # In a process of its own: importing Locust monkey-patches the standard library.
    code = "import sys; from locust.util.timespan import parse_timespan as p; print([p(t) for t in sys.argv[1:]])"
    theirs = subprocess.run([sys.executable, "-c", code, *texts], capture_output=True, text=True, check=True).stdout
    assert [parse_run_time(text) for text in texts] == json.loads(theirs) == [60, 60, 300, 5400, 3661, 120]


@pytest.mark.parametrize("text", ["", "0", "0s", "s", "ten", "1m1h", "-5", "1.5"])
def test_other_run_times_are_usage_errors(text: str) -> None:
    with pytest.raises(PreheatError) as caught:
        parse_run_time(text)
    assert caught.value.exit_code == 252


@pytest.mark.parametrize("argument", ["--master", "--worker", "--processes", "--processes=4"])
def test_distributed_runs_are_refused(argument: str) -> None:
    with pytest.raises(PreheatError) as caught:
        check_extra(["--tags", "x", argument])
    assert caught.value.exit_code == 252


def test_run_folders_do_not_collide(tmp_path: Path) -> None:
    names = [new_run_folder(tmp_path, "iris", 0.0).name for _ in range(3)]
    assert names[0].endswith("-iris")
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]


def test_a_progress_line_never_counts_below_zero() -> None:
    tally = Tally(requests=7, failures=1, users={"1", "2"})
    assert line(tally, 20.2, 60) == " 20 s  2 users  7 requests  1 failed  40 s left"
    assert line(tally, 63.0, 60) == " 60 s  2 users  7 requests  1 failed  finishing"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_live_line_on_a_terminal_and_few_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    terminal, pipe = Terminal(), io.StringIO()
    shown = [Progress(terminal, 60), Progress(pipe, 60), Progress(None, 60)]
    for _ in range(21):
        for progress in shown:
            progress.update(Tally(requests=3, users={"1"}))
        now += 0.5
    for progress in shown:
        progress.finish()
    assert pipe.getvalue() == line(Tally(3, users={"1"}), 5, 60) + "\n" + line(Tally(3, users={"1"}), 10, 60) + "\n"
    assert terminal.getvalue().count("\r") == 21
    assert terminal.getvalue().count("\n") == 1


def test_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [nearest_rank(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]
    assert nearest_rank([5.0], 0.5) == 5.0
    assert nearest_rank([], 0.5) is None
