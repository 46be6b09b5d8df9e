"""Runs side by side: the same figures of each, and how sure the difference to the first one is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preheat.analysis.labels import Label
from preheat.analysis.statistics import ROUNDS, SEED
from preheat.analysis.study import WARM_LABELS, Study, load_study
from preheat.analysis.summary import summarise
from preheat.analysis.words import duration, percent

SCHEMA = 1
_POPULATIONS = {"cold_ms": (Label.COLD,), "warm_ms": (Label.WARM,), "served_ms": (Label.COLD, *WARM_LABELS)}


def compare(paths: Sequence[Path]) -> dict[str, Any]:
    """`runs`: the main figures of each; `differences`: for each further run the difference of its p50 and p95 to the
    first run's, in ms with a 95% bootstrap interval, None where either has fewer than 5 values. `clear` says that the
    interval leaves out 0. Raises PreheatError for a path that is no run."""
    studies = [load_study(path) for path in paths]
    runs = [_figures(path, study) for path, study in zip(paths, studies, strict=True)]
    differences = [
        {"run": str(path), **{name: _difference(studies[0], study, name) for name in _POPULATIONS}}
        for path, study in zip(paths[1:], studies[1:], strict=True)
    ]
    return {"schema": SCHEMA, "runs": runs, "differences": differences}


def _figures(path: Path, study: Study) -> dict[str, Any]:
    summary = summarise(study, {})
    kept: tuple[str, ...] = ("function", "target", "requests", "ok", "failed", "cold", "warm", "warm_waited")
    kept += ("unknown", "unmatched", "label_method", "label_confidence", "cold_ms", "warm_ms", "all_ms")
    kept += ("connection_setup_ms", "costs", "times")
    figures = {name: summary[name] for name in kept}
    figures["init_ms"] = summary["server"]["init_ms"]
    figures["restore_ms"] = summary["server"]["restore_ms"]
    return {"run": str(path), **figures, "memory_mb": study.folder.info.get("memory_mb")}


def _difference(first: Study, other: Study, name: str) -> dict[str, Any] | None:
    """Difference of quantiles (other minus first); each side is resampled by itself."""
    import numpy as np

    left, right = (np.sort(study.times_ms(*_POPULATIONS[name])) for study in (first, other))
    if min(len(left), len(right)) < 5:
        return None
    generator = np.random.default_rng(SEED)
    found: dict[str, Any] = {}
    for quantile in (50, 95):
        value = float(np.percentile(right, quantile) - np.percentile(left, quantile))
        draws = [_drawn(generator, side, quantile / 100) for side in (right, left)]
        low, high = (float(end) for end in np.percentile(draws[0] - draws[1], [2.5, 97.5]))
        found[f"p{quantile}"] = {
            "difference_ms": round(value, 3),
            "interval_ms": [round(low, 3), round(high, 3)],
            "clear": low > 0 or high < 0,
        }
    return found


def _drawn(generator: Any, ordered: Any, share: float) -> Any:
    """A quantile of resamples of a sorted sample: its rank is that of a Beta distribution."""
    import numpy as np

    place = share * (len(ordered) - 1)
    ranks = generator.beta(place + 1, len(ordered) - place, size=ROUNDS) * len(ordered)
    return ordered[np.clip(ranks.astype(int), 0, len(ordered) - 1)]


def lines(comparison: dict[str, Any]) -> list[str]:
    """The comparison as a table for a terminal, one column for each run, and a sentence for each difference."""
    runs = comparison["runs"]
    rows = [("", [Path(run["run"]).name or run["run"] for run in runs])]
    rows.append(("requests", [f"{run['requests']:,}" for run in runs]))
    rows.append(("failed", [f"{sum(run['failed'].values()):,}" for run in runs]))
    rows.append(("cold", [f"{run['cold']:,} ({percent(run['cold'], run['requests'])})" for run in runs]))
    for key, name in (("cold_ms", "cold"), ("warm_ms", "warm"), ("all_ms", "all")):
        rows += [(f"{name} {at}", [_time(run[key], at) for run in runs]) for at in ("p50", "p95", "p99")]
    rows.append(("init p50", [_time(run["init_ms"], "p50") for run in runs]))
    rows.append(("connection p50", [_time(run["connection_setup_ms"], "p50") for run in runs]))
    costs = [run["costs"] and f"{run['costs']['per_million_requests_usd']:.2f}" for run in runs]
    rows.append(("$ per million", [cost or "–" for cost in costs]))
    rows.append(("labels", [f"{run['label_method']} ({run['label_confidence']:.2f})" for run in runs]))
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(runs))]
    table = [
        f"{name:<15}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, cells in rows
    ]
    return table + [line for found in comparison["differences"] for line in _sentences(found)]


def _time(times: dict[str, Any], quantile: str) -> str:
    return "–" if times.get(quantile) is None else duration(times[quantile])


def _sentences(found: dict[str, Any]) -> list[str]:
    name, sentences = Path(found["run"]).name, []
    for key, what in (("cold_ms", "cold"), ("warm_ms", "warm")):
        if found[key] is None:
            continue
        middle = found[key]["p50"]
        low, high = middle["interval_ms"]
        change = f"{'+' if middle['difference_ms'] >= 0 else '-'}{duration(abs(middle['difference_ms']))}"
        sure = "" if middle["clear"] else ": no clear difference"
        sentences.append(f"{name}: {what} median {change} (95% interval {low:+,.1f} to {high:+,.1f} ms){sure}.")
    return sentences
