"""A whole report of one run: figures, page, notebook and summary, written into the run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preheat.analysis import words
from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.decomposition import write_labels
from preheat.analysis.figures import draw_all
from preheat.analysis.notebook import write_notebook
from preheat.analysis.page import render_page
from preheat.analysis.run_folder import LABELS, SOURCES, input_bytes, is_own_output, read_inputs
from preheat.analysis.study import Study, make_study
from preheat.analysis.summary import summarise

MOST_FOR_NOTEBOOK_BYTES = 512 << 20
"""Larger inputs are not read a second time for a notebook."""


@dataclass(frozen=True, slots=True)
class Report:
    """`lines` are the findings for a terminal, ten at most, the last telling where the report is."""

    summary: dict[str, Any]
    lines: list[str]


def home_of(paths: Sequence[Path]) -> Path:
    """Where the report of these inputs goes unless told: the folder itself, or `preheat-report` beside the first. A
    folder in which somebody else's report.html lies (Locust's, say) gets a `preheat-report` within."""
    if len(paths) != 1 or not paths[0].is_dir():
        return paths[0].parent / "preheat-report"
    page = paths[0] / "report.html"
    return paths[0] / "preheat-report" if page.is_file() and not is_own_output(page) else paths[0]


def write_report(
    path: Path | Sequence[Path], progress: Callable[[str], None] = lambda _: None, home: Path | None = None
) -> Report:
    """Read the run in `path`, a folder or several files of any kind, and write its report into `home`; writing it
    again replaces it.

    `progress` is told each step. Raises PreheatError where there is no run to read, OSError where `home` cannot be
    written to. A notebook that fails becomes a warning; everything else is written all the same.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    home = home or home_of(paths)
    progress("reading the run")
    study = make_study(read_inputs(paths, home))
    home.mkdir(parents=True, exist_ok=True)
    if home not in paths:
        names = [os.path.relpath(each, home) for each in paths]
        replace_file(home / SOURCES, json.dumps({"paths": names}, indent=2) + "\n")
    anatomies = cold_anatomies(study)
    summary = summarise(study, {})
    progress("drawing the figures")
    drawings = draw_all(study, summary, home / "figures")
    summary["files"] = _files(study, [drawing.name for drawing in drawings])
    if write_labels(study, home / LABELS):
        summary["files"]["labels"] = LABELS
    _add_notebook(paths, home, summary, progress)
    progress("writing the page")
    replace_file(home / "report.html", render_page(study, summary, anatomies, drawings))
    replace_file(home / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    lines = words.ten_lines(study, summary, anatomies)
    return Report(summary, [*lines, f"Report: {home / 'report.html'}"])


def _add_notebook(paths: list[Path], home: Path, summary: dict[str, Any], progress: Callable[[str], None]) -> None:
    if input_bytes(paths) > MOST_FOR_NOTEBOOK_BYTES:
        text = "The inputs are too large to be read again in a notebook: none was written."
        summary["warnings"].append({"code": "notebook-left-out", "message": text})
        return
    progress("running the notebook")
    try:
        write_notebook(home)
        summary["files"]["notebook"] = "performance_analysis.ipynb"
    except RuntimeError as error:
        summary["warnings"].append({"code": "notebook-failed", "message": f"The notebook did not run: {error}"})


def _files(study: Study, drawn: list[str]) -> dict[str, str]:
    """Names of the report's and the run's files by purpose, relative to its folder."""
    names = {"report": "report.html", "summary": "summary.json"}
    for name in drawn:
        names |= {f"{name}_{kind}": f"figures/{name}.{kind}" for kind in ("png", "svg")}
    given = {"requests": "requests.csv", "journal": "journal.jsonl", "run": "run.json", "sources": SOURCES}
    return names | {purpose: name for purpose, name in given.items() if (study.folder.path / name).is_file()}


def replace_file(path: Path, text: str) -> None:
    """Write whole or not at all, so that nobody reads half a file."""
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
