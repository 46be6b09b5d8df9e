"""One load run from start to folder: Locust in a process of its own, watched, its records collected."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import preheat
from preheat.kernel.errors import PreheatError
from preheat.load import journal
from preheat.load.plan import LoadPlan, locust_arguments
from preheat.load.progress import Progress
from preheat.load.rows import Tail, Tally

SCHEMA = 1
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run. `exit_code` is Locust's, or 130 when the user stopped it; `journal` None where there is none."""

    plan: LoadPlan
    tally: Tally
    journal: journal.Journal | None
    exit_code: int

    def as_dict(self) -> dict[str, Any]:
        times = sorted(self.tally.response_ms)
        return {
            "schema": SCHEMA,
            "run": str(self.plan.out),
            "function": self.plan.function,
            "exit_code": self.exit_code,
            "users": len(self.tally.users),
            "requests": self.tally.requests,
            "failed": self.tally.failures,
            "new_connections": self.tally.new_connections,
            "p50_ms": nearest_rank(times, 0.50),
            "p95_ms": nearest_rank(times, 0.95),
            "max_ms": nearest_rank(times, 1.0),
            "environments_started": self.journal.environments_started if self.journal else None,
            "cold": self.journal.cold if self.journal else None,
            "unrecorded": len(self.journal.missing) if self.journal else None,
        }


def nearest_rank(ordered: list[float], share: float) -> float | None:
    """The smallest value with at least that share of the values at or below it; None of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


FUNCTION_FACTS = (
    *("version", "memory_mb", "timeout_s", "runtime", "qualifier", "snap_start", "provisioned"),
    *("architecture", "package_type", "image_uri", "image_digest"),
)
"""What run.json tells of the function, null where it is not known. `package_type` is Zip or Image, `image_uri` the tag
that was deployed, `image_digest` what Lambda resolved it to."""


def run(plan: LoadPlan, progress_to: TextIO | None) -> Result:
    """Run Locust to its end (or the user's Ctrl-C) and leave a complete folder behind.

    Raises PreheatError with Locust's last words if it failed before any request.
    """
    if not plan.locustfile.is_file():
        raise PreheatError(f"{plan.locustfile}: no such locustfile", 252)
    plan.console_path.parent.mkdir(parents=True, exist_ok=True)
    cloud = (journal.health(plan.endpoint_url) if plan.endpoint_url else None) or {}
    started_s = time.time()
    facts = _facts(plan, cloud, started_s)
    _write_json(plan.out / "run.json", facts)  # so that even a killed run says what it was
    tail = Tail(plan.requests_csv)
    exit_code = _locust(plan, tail, Progress(progress_to, plan.run_time_s))
    tally = tail.read()
    collected = None
    if plan.endpoint_url and cloud:
        try:
            since_ms = (plan.prepared_at_s or started_s) * 1000
            collected = journal.collect(
                plan.endpoint_url, plan.function, since_ms, tally.answered_ids, plan.out / "journal.jsonl"
            )
        except OSError as error:
            if progress_to is not None:
                progress_to.write(f"no journal: {plan.endpoint_url} does not answer any more ({error})\n")
    _write_json(plan.out / "run.json", {**facts, "finished_at": time.time(), "exit_code": exit_code})
    if exit_code not in (0, INTERRUPTED) and tally.requests == 0:
        raise PreheatError(f"Locust ended with status {exit_code}: {_last_words(plan)} (see {plan.console_path})")
    return Result(plan, tally, collected, exit_code)


def _locust(plan: LoadPlan, tail: Tail, progress: Progress) -> int:
    """Locust's exit code; 130 after a Ctrl-C, upon which it finishes the requests in flight and its reports."""
    environment = {**os.environ, "FUNCTION_NAME": plan.function}
    if plan.target == "local":
        bypass = [part for part in (environment.get("NO_PROXY"), "127.0.0.1,localhost") if part]
        environment["NO_PROXY"] = environment["no_proxy"] = ",".join(bypass)
    command = [sys.executable, "-m", "preheat.load.locust_entry", str(plan.requests_csv), *locust_arguments(plan)]
    with plan.console_path.open("wb") as console:
        # In a session of its own: a terminal's Ctrl-C reaches us alone, and we pass it on once.
        locust = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _watch(locust, tail, progress)
    except KeyboardInterrupt:
        locust.send_signal(signal.SIGINT)
        _watch(locust, tail, progress)
        return INTERRUPTED
    finally:
        progress.finish()
        if locust.poll() is None:
            locust.kill()
            locust.wait()


def _watch(locust: subprocess.Popen[bytes], tail: Tail, progress: Progress) -> int:
    while True:
        try:
            return locust.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            progress.update(tail.read())


def _facts(plan: LoadPlan, cloud: dict[str, Any], started_s: float) -> dict[str, Any]:
    """run.json, schema 1, as it stands when the run starts."""
    return {
        "schema": SCHEMA,
        "started_at": started_s,
        "finished_at": None,
        "target": plan.target,
        "endpoint_url": plan.endpoint_url,
        "host": plan.host,
        "function": plan.function,
        **{key: plan.function_facts.get(key) for key in FUNCTION_FACTS},
        "users": plan.users,
        "spawn_rate": plan.spawn_rate,
        "run_time_s": plan.run_time_s,
        "locust_argv": ["locust", *locust_arguments(plan)],
        "exit_code": None,
        "preheat_version": preheat.__version__,
        "machine": {
            "cpus": os.cpu_count(),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "sandbox": cloud.get("sandbox"),
        "max_inits": cloud.get("max_inits"),
        "sample": plan.sample,
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    partial.replace(path)


def _last_words(plan: LoadPlan) -> str:
    """The last line that Locust left on its console, or in its log."""
    for path in (plan.console_path, plan.log_path):
        if path.is_file():
            lines = [line for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip()]
            if lines:
                return lines[-1].strip()
    return "no output"
