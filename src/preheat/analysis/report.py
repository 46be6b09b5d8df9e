"""A whole report of one run: figures, page, notebook and summary, written into the run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preheat.analysis import words
from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.figures import draw_all
from preheat.analysis.notebook import write_notebook
from preheat.analysis.page import render_page
from preheat.analysis.study import Study, load_study
from preheat.analysis.summary import summarise


@dataclass(frozen=True, slots=True)
class Report:
    """`lines` are the findings for a terminal, ten at most, the last telling where the report is."""

    summary: dict[str, Any]
    lines: list[str]


def write_report(path: Path, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Read the run in `path` and write its report there; writing it again replaces it.

    `progress` is told each step. Raises PreheatError where `path` is no run's folder or cannot be written to.
    A notebook that fails becomes a warning; everything else is written all the same.
    """
    progress("reading the run")
    study = load_study(path)
    anatomies = cold_anatomies(study)
    summary = summarise(study, {})
    progress("drawing the figures")
    drawings = draw_all(study, summary, path / "figures")
    summary["files"] = _files(study, [drawing.name for drawing in drawings])
    progress("running the notebook")
    try:
        write_notebook(path)
        summary["files"]["notebook"] = "performance_analysis.ipynb"
    except RuntimeError as error:
        summary["warnings"].append({"code": "notebook-failed", "message": f"The notebook did not run: {error}"})
    progress("writing the page")
    _replace(path / "report.html", render_page(study, summary, anatomies, drawings))
    _replace(path / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    lines = words.ten_lines(study, summary, anatomies)
    return Report(summary, [*lines, f"Report: {path / 'report.html'}"])


def _files(study: Study, drawn: list[str]) -> dict[str, str]:
    """Names of the run's files by purpose, relative to its folder."""
    names = {"report": "report.html", "summary": "summary.json"}
    for name in drawn:
        names |= {f"{name}_{kind}": f"figures/{name}.{kind}" for kind in ("png", "svg")}
    names["requests"] = "requests.csv"
    given = {"journal": "journal.jsonl", "run": "run.json"}
    return names | {purpose: name for purpose, name in given.items() if (study.folder.path / name).is_file()}


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all, so that nobody reads half a file."""
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
