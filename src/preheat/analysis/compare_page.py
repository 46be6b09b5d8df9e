"""`compare.html`: runs side by side on one page, in one file that needs nothing else; and everything beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preheat.analysis.compare import lines, load_runs, sentences, table
from preheat.analysis.figures import Drawing
from preheat.analysis.figures.compared import draw_comparison
from preheat.analysis.page import page_template
from preheat.analysis.report import replace_file
from preheat.analysis.words import duration

PAGE = "compare.html"


def write_comparison(paths: Sequence[Path], home: Path) -> tuple[dict[str, Any], list[str]]:
    """Compare the runs and write `compare.html`, `compare.json` and `figures/` into `home`; writing again replaces.

    Returns (the comparison, its lines for a terminal). Raises PreheatError for a path that is no run, OSError where
    `home` cannot be written to.
    """
    studies, comparison = load_runs(paths)
    home.mkdir(parents=True, exist_ok=True)
    drawings = draw_comparison(studies, comparison, home / "figures")
    comparison["files"] = {"page": PAGE, "comparison": "compare.json"}
    for drawing in drawings:
        comparison["files"] |= {f"{drawing.name}_{kind}": f"figures/{drawing.name}.{kind}" for kind in ("png", "svg")}
    replace_file(home / PAGE, render_comparison(comparison, drawings))
    replace_file(home / "compare.json", json.dumps(comparison, indent=2, ensure_ascii=False) + "\n")
    return comparison, [*lines(comparison), comparison["sentence"], f"Page: {home / PAGE}"]


def render_comparison(comparison: dict[str, Any], drawings: Sequence[Drawing]) -> str:
    """The page as HTML. Whatever came from the runs is escaped; the figures' SVG is our own."""
    runs = [
        {"letter": run["letter"], "name": run["name"], "facts": _facts(run), "method": _method(run)}
        for run in comparison["runs"]
    ]
    found = [(each, sentences(comparison, each)) for each in comparison["differences"]]
    return page_template("compare.html.j2").render(
        title=comparison["sentence"],
        findings=[f"{each['letter']} against A: {text}" for each, texts in found for text in texts],
        runs=runs,
        rows=table(comparison),
        differences=[row for each in comparison["differences"] for row in _rows(each)],
        warnings=[(run["letter"], warning["message"]) for run in comparison["runs"] for warning in run["warnings"]],
        drawings=drawings,
    )


def _method(run: Mapping[str, Any]) -> str:
    return f"{run['label_method']} (confidence {run['label_confidence']:.2f})"


def _facts(run: Mapping[str, Any]) -> str:
    """What the run's own record tells of how it was made; "" where there is none."""
    known = [
        run["function"] and str(run["function"]),
        run["target"] and f"on {run['target']}",
        run["memory_mb"] and f"{run['memory_mb']} MB",
        run["runtime"],
        run["package_type"] == "Image" and "container image",
        run["snap_start"] and "SnapStart",
        run["provisioned"] and f"{run['provisioned']} provisioned",
        run["users"] and f"{run['users']} users",
        run["run_time_s"] and f"{run['run_time_s']:g} s",
    ]
    return ", ".join(str(fact) for fact in known if fact)


def _rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    for key, name in (("cold_ms", "cold"), ("met_ms", "cold or waited"), ("warm_ms", "warm"), ("all_ms", "all")):
        if key == "met_ms" and found["met_ms"] == found["cold_ms"]:
            continue  # nothing waited
        for at, value in (found[key] or {}).items():
            low, high = value["interval_ms"]
            sign = "+" if value["difference_ms"] >= 0 else "−"
            difference = f"{sign}{duration(abs(value['difference_ms']))}"
            interval = f"{low:+,.1f} to {high:+,.1f} ms"
            word = _word(value["clear"], value["difference_ms"] < 0, "faster", "slower")
            rows.append({"of": f"{name} {at}", "difference": difference, "interval": interval, "word": word})
    for key, of in (("cold_share", "share of cold (%)"), ("met_share", "share of cold or waited (%)")):
        share = found[key]
        if share is None or (key == "met_share" and share == found["cold_share"]):
            continue
        low, high = (100 * end for end in share["interval"])
        interval = f"{low:+.2f} to {high:+.2f} points"
        word = _word(share["clear"], share["difference"] < 0, "fewer", "more")
        difference = f"{100 * share['difference']:+.2f} points"
        rows.append({"of": of, "difference": difference, "interval": interval, "word": word})
    return [{"letter": found["letter"], **row} for row in rows]


def _word(is_clear: bool, is_less: bool, less: str, more: str) -> str:
    return "no clear difference" if not is_clear else less if is_less else more
