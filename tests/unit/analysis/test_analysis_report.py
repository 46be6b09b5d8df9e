"""A whole report: every file, an executed notebook, nothing left running, nothing lost when the notebook fails."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
import synthetic

from preheat.analysis import report as report_module
from preheat.analysis.notebook import write_notebook
from preheat.analysis.report import write_report


def notebook_of(folder: Path) -> tuple[str, int]:
    """(all text printed, number of images) of the notebook's results."""
    cells = json.loads((folder / "performance_analysis.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = "".join("".join(output.get("text", "")) for output in outputs)
    return text, sum("image/png" in output.get("data", {}) for output in outputs)


def test_a_report_is_whole(tmp_path: Path) -> None:
    run = synthetic.make_run(users=30, run_time_s=15)
    folder = run.write(tmp_path / "run")
    steps: list[str] = []
    report = write_report(folder, steps.append)
    assert [warning["code"] for warning in report.summary["warnings"]] == ["few-cold"]
    assert all((folder / name).is_file() for name in report.summary["files"].values())
    assert {path.name for path in folder.iterdir()} == {
        *("figures", "locust_logs", "requests.csv", "journal.jsonl", "run.json"),
        *("report.html", "summary.json", "labels.csv", "performance_analysis.ipynb"),
    }
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == report.summary
    assert len(report.lines) <= 10
    assert report.lines[-1] == f"Report: {folder / 'report.html'}"
    assert len(steps) == 4
    text, images = notebook_of(folder)
    assert f"cold in truth: {run.truth.count('cold')};" in text
    assert images == 6
    assert not [
        child for child in psutil.Process().children(recursive=True) if "ipykernel" in " ".join(child.cmdline())
    ]


def test_a_notebook_that_fails_is_kept_as_far_as_it_got(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"PreheatError.*requests\.csv"):
        write_notebook(tmp_path)
    notebook = json.loads((tmp_path / "performance_analysis.ipynb").read_text(encoding="utf-8"))
    errors = [o["ename"] for cell in notebook["cells"] for o in cell.get("outputs", []) if o["output_type"] == "error"]
    assert errors == ["PreheatError"]


def test_the_rest_of_the_report_survives_a_failed_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise RuntimeError("DeadKernelError: Kernel died")

    monkeypatch.setattr(report_module, "write_notebook", fail)
    folder = synthetic.make_run(users=5, run_time_s=5).write(tmp_path)
    report = write_report(folder)
    assert report.summary["warnings"][-1]["code"] == "notebook-failed"
    assert "notebook" not in report.summary["files"]
    assert "Kernel died" in (folder / "report.html").read_text(encoding="utf-8")
