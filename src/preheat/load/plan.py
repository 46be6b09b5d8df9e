"""What to load, with what, and where the results go: values and their translation into Locust's own arguments."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError

DISTRIBUTED = ("--master", "--worker", "--processes")
"""Locust arguments that spread a run over processes, each of which would write a requests.csv of its own."""

STOP_TIMEOUT_S = 30
"""At the end of the run requests in flight are answered and counted (API Gateway gives up after 29 s)."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One run. `function_facts` are the function's own for run.json (`load.run.FUNCTION_FACTS`).

    `endpoint_url` is the local cloud's address, None where there is none to ask for a journal (AWS).
    `prepared_at_s` (epoch seconds): environments started since then belong to the run. Provisioned ones are there
    before its first request.
    """

    function: str
    host: str
    locustfile: Path
    out: Path
    target: str = "local"
    endpoint_url: str | None = None
    users: int = 100
    spawn_rate: float = 20.0
    run_time_s: float = 60.0
    csv_prefix: Path | None = None
    html: Path | None = None
    logfile: Path | None = None
    extra: tuple[str, ...] = ()
    function_facts: dict[str, Any] = field(default_factory=dict)
    sample: dict[str, Any] | None = None
    prepared_at_s: float | None = None

    @property
    def requests_csv(self) -> Path:
        return self.out / "requests.csv"

    @property
    def log_path(self) -> Path:
        return self.logfile or self.out / "locust_logs" / "test_locust_logs.txt"

    @property
    def console_path(self) -> Path:
        return self.out / "locust_logs" / "console.txt"


def locust_arguments(plan: LoadPlan) -> list[str]:
    """The arguments of the assignment's `locust` command; the user's own come last, so they win."""
    logs = plan.out / "locust_logs"
    return [
        *("-f", str(plan.locustfile)),
        *("--host", plan.host),
        *("--users", str(plan.users)),
        *("--spawn-rate", f"{plan.spawn_rate:g}"),
        *("--run-time", f"{plan.run_time_s:g}s"),
        *("--csv", str(plan.csv_prefix or logs / "test")),
        "--csv-full-history",
        *("--html", str(plan.html or logs / "test_locust_report.html")),
        *("--logfile", str(plan.log_path)),
        "--headless",
        "--only-summary",
        *("--stop-timeout", str(STOP_TIMEOUT_S)),
        *("--exit-code-on-error", "0"),  # failed requests are results; only a run that failed is an error
        *plan.extra,
    ]


def check_extra(extra: Sequence[str]) -> None:
    """Raise PreheatError 252 for Locust's distributed mode, which this recorder does not support."""
    for argument in extra:
        if argument.split("=")[0] in DISTRIBUTED:
            raise PreheatError(f"{argument}: a run is one Locust process here; start `locust` yourself for more", 252)


def parse_run_time(text: str) -> float:
    """Seconds of "60", "60s", "5m" or "1h30m" (Locust's own format). Raises PreheatError 252."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if total <= 0:
        raise PreheatError(f"--run-time {text}: give seconds, or for example 60s, 5m, 1h30m", 252)
    return float(total)


def new_run_folder(runs: Path, function: str, now_s: float | None = None) -> Path:
    """Make `runs/<YYYYmmdd-HHMMSS>-<function>` (local time), with a number behind it if it is taken."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now_s))
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        folder = runs / f"{stamp}-{function}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise PreheatError(f"{runs}: too many runs named {stamp}-{function}")
