"""Runs side by side: the same figures of each, and how sure the difference to the first one is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preheat.analysis import statistics
from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.labels import Label
from preheat.analysis.quantiles import spread
from preheat.analysis.study import WARM_LABELS, Study, load_study
from preheat.analysis.summary import summarise
from preheat.analysis.words import duration, mean_parts, percent

SCHEMA = 1
POPULATIONS = {
    "cold_ms": (Label.COLD,),
    "met_ms": (Label.COLD, Label.WARM_WAITED),
    "warm_ms": (Label.WARM,),
    "served_ms": (Label.COLD, *WARM_LABELS),
}
"""What is compared: the served requests of these labels; `met_ms` are those that met a cold start, their own or one
that they waited for. Runs without labels have `all_ms`, every answered request."""
_KEPT = (
    *("function", "target", "requests", "ok", "failed", "cold", "warm", "warm_waited", "unknown", "unmatched"),
    *("label_method", "label_confidence", "cold_ms", "warm_ms", "waited_ms", "all_ms", "connection_setup_ms"),
    *("corrected_ms", "last_cold_s", "throughput_per_s", "costs", "times", "warnings"),
)
_FACTS = ("memory_mb", "runtime", "package_type", "snap_start", "provisioned", "users", "spawn_rate", "run_time_s")


def load_runs(paths: Sequence[Path]) -> tuple[list[Study], dict[str, Any]]:
    """The runs, and `compare_studies` of them. Raises PreheatError for a path that is no run."""
    studies = [load_study(path) for path in paths]
    return studies, compare_studies(studies, paths)


def compare_studies(studies: Sequence[Study], paths: Sequence[Path]) -> dict[str, Any]:
    """`runs`: the main figures of each, `name` and `letter` tell them apart; `differences`: for each further run the
    difference of its p50 and p95 to the first run's, in ms with a 95% bootstrap interval (`statistics.difference`), and
    of its share of cold requests; `sentence`: what changed by how much."""
    names = _names(paths)
    letters = [chr(ord("A") + number) if number < 26 else f"R{number + 1}" for number in range(len(paths))]
    runs = [_figures(*each) for each in zip(paths, names, letters, studies, strict=True)]
    differences = [_differences(studies[0], study, run) for study, run in zip(studies[1:], runs[1:], strict=True)]
    comparison = {"schema": SCHEMA, "runs": runs, "differences": differences}
    return {**comparison, "sentence": what_changed(comparison)}


def _names(paths: Sequence[Path]) -> list[str]:
    """As many of the last parts of each path as tell them all apart."""
    resolved = [path.resolve() for path in paths]
    for depth in range(1, 6):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _figures(path: Path, name: str, letter: str, study: Study) -> dict[str, Any]:
    summary = summarise(study, {})
    figures = {key: summary[key] for key in _KEPT}
    figures["met_ms"] = spread(study.times_ms(*POPULATIONS["met_ms"]))
    figures["init_ms"] = summary["server"]["init_ms"]
    figures["restore_ms"] = summary["server"]["restore_ms"]
    figures["cold_parts_ms"] = {part: round(ms, 3) for part, ms in mean_parts(cold_anatomies(study)).items()}
    facts = {key: study.folder.info.get(key) for key in _FACTS}
    return {"run": str(path), "name": name, "letter": letter, **figures, **facts}


def _differences(first: Study, other: Study, run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"run": run["run"], "name": run["name"], "letter": run["letter"]}
    for name, labels in POPULATIONS.items():
        found[name] = statistics.difference(first.times_ms(*labels), other.times_ms(*labels))
    found["all_ms"] = statistics.difference(first.answered[1], other.answered[1])
    for name, key in (("cold_share", "cold_ms"), ("met_share", "met_ms")):
        found[name] = _share_difference(first, other, POPULATIONS[key])
    return found


def _share_difference(first: Study, other: Study, labels: Sequence[Label]) -> dict[str, Any] | None:
    """The difference of the labels' shares; None where the requests of which it is not known could turn it round."""
    if "none" in (first.label_method, other.label_method):
        return None
    parts, opens, wholes = [], [], []
    for study in (first, other):
        parts.append(sum(study.counts[label] for label in labels))
        opens.append(study.counts[Label.UNKNOWN] + study.counts[Label.UNMATCHED])
        wholes.append(study.counts.total())
    least = [part / max(whole, 1) for part, whole in zip(parts, wholes, strict=True)]
    most = [share + open_ / max(whole, 1) for share, open_, whole in zip(least, opens, wholes, strict=True)]
    if any(opens) and most[0] >= least[1] and most[1] >= least[0]:
        return None
    return statistics.share_difference((parts[0], wholes[0]), (parts[1], wholes[1]))


def lines(comparison: dict[str, Any]) -> list[str]:
    """The comparison for a terminal: a table, one column for each run, and a sentence for each difference."""
    rows = [("", [run["name"] for run in comparison["runs"]]), *table(comparison)]
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(comparison["runs"]))]
    printed = [
        f"{name:<23}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, cells in rows
    ]
    told = [f"{found['name']}: {text}" for found in comparison["differences"] for text in sentences(comparison, found)]
    return [*printed, *told]


def table(comparison: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(name, a cell for each run), rows that no run can fill left out."""
    runs = comparison["runs"]
    rows = [("requests", [f"{run['requests']:,}" for run in runs])]
    rows.append(("failed", [f"{sum(run['failed'].values()):,}" for run in runs]))
    rows.append(("cold", [_counted(run, "cold") for run in runs]))
    rows.append(("warm, but waited", [_counted(run, "warm_waited") for run in runs]))
    if any(run["unknown"] + run["unmatched"] for run in runs):
        rows.append(("cold or warm not known", [f"{run['unknown'] + run['unmatched']:,}" for run in runs]))
    timed = [("cold", "cold_ms"), ("met a cold start", "met_ms"), ("warm", "warm_ms"), ("all", "all_ms")]
    if not any(run["waited_ms"]["n"] for run in runs):
        timed.remove(("met a cold start", "met_ms"))
    for name, key in timed:
        rows += [(f"{name} {at}", [_time(run[key], at) for run in runs]) for at in ("p50", "p95", "p99")]
    rows.append(("init p50", [_time(run["init_ms"], "p50") for run in runs]))
    rows.append(("restore p50", [_time(run["restore_ms"], "p50") for run in runs]))
    rows.append(("connection set-up p50", [_time(run["connection_setup_ms"], "p50") for run in runs]))
    rows.append(("last cold at", [_dash(run["last_cold_s"], "{:.1f} s") for run in runs]))
    rows.append(("requests a second", [_dash(run["throughput_per_s"], "{:,.1f}") for run in runs]))
    rows.append(("$ per million", [_dash((run["costs"] or {}).get("per_million_requests_usd")) for run in runs]))
    rows.append(("labels by", [run["label_method"] for run in runs]))
    rows.append(("sure to", [f"{run['label_confidence']:.2f}" for run in runs]))
    return [(name, cells) for name, cells in rows if any(cell != "–" for cell in cells)]


def _counted(run: dict[str, Any], key: str) -> str:
    if run["label_method"] == "none":
        return "–"
    return f"{run[key]:,} ({percent(run[key], run['requests'])})"


def _dash(value: float | None, shape: str = "{:.2f}") -> str:
    return "–" if value is None else shape.format(value)


def _time(times: dict[str, Any], quantile: str) -> str:
    return "–" if times.get(quantile) is None else duration(times[quantile])


_WORDS = {
    "cold_ms": "a cold start",
    "met_ms": "a request that meets a cold start, its own or one it waits for,",
    "warm_ms": "a warm request",
    "all_ms": "a request",
}


def told(first: dict[str, Any], other: dict[str, Any]) -> tuple[str, ...]:
    """What is worth telling of two runs: where nothing waited, cold requests are those that met a cold start."""
    waited = first["waited_ms"]["n"] + other["waited_ms"]["n"]
    return ("cold_ms", "met_ms", "warm_ms") if waited else ("cold_ms", "warm_ms")


def sentences(comparison: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What the differences of one run to the first say, medians and the share of cold; the clear ones first."""
    first = comparison["runs"][0]
    other = next(run for run in comparison["runs"] if run["letter"] == found["letter"])
    texts = []
    for key in told(first, other):
        if found[key] is not None:
            texts.append(f"{_WORDS[key]} takes {_change(found[key]['p50'], first[key], other[key])}.")
        elif key == "cold_ms" and (first["cold"] or other["cold"]):
            counted = f"{first['cold_ms']['n']:,} and {other['cold_ms']['n']:,}"
            texts.append(f"{counted} cold starts were timed: too few to say what changed ({statistics.FEWEST} needed).")
    if found["cold_ms"] is None and found["warm_ms"] is None and found["all_ms"] is not None:
        texts.append(f"{_WORDS['all_ms']} takes {_change(found['all_ms']['p50'], first['all_ms'], other['all_ms'])}.")
    texts += _share(first, other, found)
    return sorted(texts, key=lambda text: "no clear difference" in text or "too few" in text)


def _share(first: dict[str, Any], other: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """How many requests met a cold start, where any did."""
    share = found["met_share"]
    met = [run["cold"] + run["warm_waited"] for run in (first, other)]
    if share is None or not any(met):
        return []
    what = "met a cold start, their own or one they waited for" if "met_ms" in told(first, other) else "are cold"
    before, now = (percent(number, run["requests"]) for number, run in zip(met, (first, other), strict=True))
    low, high = (100 * end for end in share["interval"])
    sure = "" if share["clear"] else ": no clear difference"
    interval = f"95% interval {low:+.2g} to {high:+.2g} percentage points"
    return [f"{now} of the requests {what}, {before} before ({interval}){sure}."]


def _change(found: dict[str, Any], first: dict[str, Any], other: dict[str, Any]) -> str:
    """`862 ms less (median 1.03 s, before 1.89 s; 95% interval 789 ms to 1.00 s less)`."""
    low, high = found["interval_ms"]
    medians = f"median {duration(other['p50'])}, before {duration(first['p50'])}"
    if not found["clear"]:
        return f"about as long ({medians}; 95% interval {low:+,.1f} to {high:+,.1f} ms): no clear difference"
    word = "less" if high < 0 else "more"
    near, far = sorted((abs(low), abs(high)))
    amount = duration(abs(found["difference_ms"]))
    return f"{amount} {word} ({medians}; 95% interval {duration(near)} to {duration(far)} {word})"


def what_changed(comparison: dict[str, Any]) -> str:
    """A sentence for each further run: its clearest difference to the first, requests that met a cold start before
    warm ones before all."""
    return " ".join(_clearest(comparison, found) for found in comparison["differences"])


def _clearest(comparison: dict[str, Any], found: dict[str, Any]) -> str:
    first = comparison["runs"][0]
    other = next(run for run in comparison["runs"] if run["letter"] == found["letter"])
    where = f"In {found['name']}" if len(comparison["differences"]) == 1 else f"In {found['letter']}"
    for key in (*reversed(told(first, other)[:-1]), "warm_ms", "all_ms"):
        if found[key] is not None and found[key]["p50"]["clear"]:
            return f"{where} {_WORDS[key]} takes {_change(found[key]['p50'], first[key], other[key])}."
        if key == "cold_ms" and found["met_share"] and found["met_share"]["clear"]:
            return f"{where} {_share(first, other, found)[0]}"
    compared = [key for key in ("cold_ms", "warm_ms", "all_ms") if found[key] is not None]
    if not compared:
        return f"{where} or {first['name']} there are too few single requests to say what changed."
    what = "cold starts and warm requests take" if compared[:2] == ["cold_ms", "warm_ms"] else "requests take"
    return f"{where} {what} about as long as in {first['name']}: no clear difference."
