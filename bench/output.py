"""The table a person reads, `results/latest.json` for a program, `results/samples.json` for whoever doubts it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.result import Result
from bench.stats import percentile, pooled
from bench.targets import TARGETS, Target

RESULTS = Path("bench/results")
HEADER = f"{'row':<32} {'value':>9}  {'95 % interval':^17} {'n':>5}  {'at least':>9} {'aim':>9}  verdict"


def machine() -> dict[str, Any]:
    """What the figures were taken on, and how busy it was with other things when the run began."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpus": os.cpu_count(),
        "memory_mb": round(pages * page_size / 1e6),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average_1m": round(os.getloadavg()[0], 2),
    }


def figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def bound(target: Target, value: float) -> str:
    return f"{'>=' if target.higher_is_better else '<='} {figure(value)}"


def row(target: Target, result: Result) -> list[str]:
    """A row of the table and, under it, the sides it was made from."""
    low, high = result.interval
    unit = "" if target.unit == "ratio" else f" {target.unit}"
    interval = f"{figure(low)} .. {figure(high)}"
    bounds = f"{bound(target, target.at_least):>9} {bound(target, target.aim):>9}"
    value = figure(result.value) + unit
    lines = [f"{target.key:<32} {value:>9}  {interval:^17} {result.n:>5}  {bounds}  {target.verdict(result.value)}"]
    sides = [side(name, pooled(rounds), result.unit) for name, rounds in result.sides.items()]
    lines.append(f"    {target.figure}: {'; '.join(sides)}" + (f"; {result.note}" if result.note else ""))
    return lines


def side(name: str, samples: Sequence[float], unit: str) -> str:
    """ "FastAPI p50 0.31 p99 0.80 ms"; the p99 only where there are samples enough for one."""
    tail = f" p99 {figure(percentile(samples, 0.99))}" if len(samples) >= 100 else ""
    return f"{name} p50 {figure(median(samples))}{tail} {unit}"


def unbuilt(target: Target) -> str:
    return f"{target.key:<32} not built yet: {target.figure}"


def latest(results: Mapping[str, Result]) -> dict[str, dict[str, Any]]:
    """Measured rows only: a key that is absent was not measured."""
    return {
        target.key: {
            "value": round(results[target.key].value, 6),
            "unit": target.unit,
            "n": results[target.key].n,
            "at_least": target.at_least,
            "aim": target.aim,
        }
        for target in TARGETS
        if target.key in results
    }


def write(results: Mapping[str, Result], about: Mapping[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    samples = {
        key: {"unit": result.unit, "interval": result.interval, "note": result.note, "rounds": dict(result.sides)}
        for key, result in results.items()
    }
    document = {"finished_at": time.time(), "machine": dict(about), "rows": samples}
    (RESULTS / "latest.json").write_text(json.dumps(latest(results), indent=2) + "\n")
    (RESULTS / "samples.json").write_text(json.dumps(document) + "\n")
