"""How right the labels are, on synthetic runs of known truth, by every method.

.venv/bin/python tests/unit/analysis/accuracy.py     prints the table of docs/cold-starts.md
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from synthetic_aws import AwsRun, make_aws_run

from preheat.analysis.labels import Label
from preheat.analysis.study import Study, load_study

CASES: dict[str, dict[str, Any]] = {
    "two populations well apart": {"prewarmed": 4},
    "overlapping": {"init_ms": (12.0, 0.6), "rtt_ms": 20.0},
    "three populations": {"third": (0.1, 250.0, 0.1), "prewarmed": 6},
    "none cold": {"init_ms": None},
    "all cold": {"always_cold": True, "users": 15},
    "all refused": {"refused": True},
    "set-up only": {"init_ms": None, "rtt_ms": 250.0, "setup_trips": 3.0},
    "drifting clock": {"drift": 2e-3, "clock_error_s": 1.7, "prewarmed": 4},
    "lost lines (20%)": {"lost_lines": 0.2, "prewarmed": 4},
    "1% unmatched, other callers": {"unmatched": 0.01, "others": 20, "prewarmed": 4},
    "far away (RTT 250 ms)": {"rtt_ms": 250.0, "warm_ms": (60.0, 0.2), "prewarmed": 2},
    "rough network": {"rtt_ms": 80.0, "jitter": 0.5, "prewarmed": 4, "warm_ms": (30.0, 0.4)},
}
SEEDS = range(5)
METHODS = ("request-id", "log-join", "latency-model")


@dataclass
class Score:
    """Over all seeds: requests, labels that claim something, those of them that are right; cold ones found."""

    requests: int = 0
    claimed: int = 0
    right: int = 0
    cold: int = 0
    called_cold: int = 0
    cold_right: int = 0

    @property
    def accuracy(self) -> float | None:
        return self.right / self.claimed if self.claimed else None

    @property
    def precision(self) -> float | None:
        return self.cold_right / self.called_cold if self.called_cold else None

    @property
    def recall(self) -> float | None:
        return self.cold_right / self.cold if self.cold else None

    @property
    def unknown(self) -> float:
        return 1 - self.claimed / self.requests if self.requests else 0.0


def study_of(run: AwsRun, method: str, folder: Path) -> Study:
    """The run as somebody has it who can use just that method."""
    if method == "request-id":
        (folder / "requests.csv").write_text(run.requests_csv(setup=True), encoding="utf-8")
        (folder / "insights.csv").write_text(run.insights_csv(), encoding="utf-8")
    else:
        (folder / "test_locust_logs.txt").write_text(run.locust_log(), encoding="utf-8")
        if method == "log-join":
            (folder / "insights.csv").write_text(run.insights_csv(), encoding="utf-8")
    return load_study(folder)


def score(run: AwsRun, study: Study, into: Score) -> Score:
    """Add one study's labels. A log has milliseconds only, so requests are known again by their response times."""
    truth: dict[str, list[str]] = {}
    for item in run.sent:
        truth.setdefault(f"{item.response_ms:.2f}", []).append(item.truth)
    assert len(run.sent) == len(study.labelled)
    into.requests += len(study.labelled)
    for labelled in study.labelled:
        real, said = truth[f"{labelled.request.response_ms:.2f}"].pop(0), str(labelled.label)
        into.cold += real == "cold"
        if said in (Label.UNKNOWN, Label.UNMATCHED):
            continue
        into.claimed += 1
        into.right += real == said
        into.called_cold += said == Label.COLD
        into.cold_right += said == real == Label.COLD
    return into


def measure(case: str, method: str, seeds: Any = SEEDS) -> Score:
    total = Score()
    for seed in seeds:
        run = make_aws_run(seed=seed + 1, **CASES[case])
        with tempfile.TemporaryDirectory() as folder:
            score(run, study_of(run, method, Path(folder)), total)
    return total


def table() -> str:
    """The table as Markdown."""
    names = ("case", "method", "requests", "cold", "labels right", "cold precision", "cold recall", "unknown")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for case in CASES:
        for method in METHODS:
            s = measure(case, method)
            cells = [case, method, f"{s.requests:,}", f"{s.cold:,}"]
            cells += [_share(s.accuracy), _share(s.precision), _share(s.recall), _share(s.unknown)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


if __name__ == "__main__":
    print(table())
    if "--labels" in sys.argv:
        for case in CASES:
            run = make_aws_run(**CASES[case])
            print(case, Counter(run.truth))
