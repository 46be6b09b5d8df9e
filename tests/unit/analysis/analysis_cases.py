"""Runs of every shape, with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import synthetic

from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.figures import Drawing, draw_all
from preheat.analysis.study import Study, load_study
from preheat.analysis.summary import summarise
from preheat.analysis.words import Anatomies

SHAPES: dict[str, dict[str, Any]] = {
    "typical": {},
    "few_places": {"max_inits": 1, "seed": 11},
    "refused": {"refused": True, "users": 20},
    "none_cold": {"prewarmed": 5, "users": 20},
    "all_cold": {"always_cold": True, "users": 5, "run_time_s": 20},
    "one": {"users": 1, "run_time_s": 1},
    "empty": {"users": 0},
    "no_journal": {"users": 20, "prewarmed": 5},
}


@dataclass
class Case:
    name: str
    folder: Path
    run: synthetic.Run
    study: Study
    summary: dict[str, Any]
    anatomies: Anatomies

    @cached_property
    def drawings(self) -> list[Drawing]:
        """Its figures, drawn once, in `figures/` of its folder."""
        return draw_all(self.study, self.summary, self.folder / "figures")


def make_case(name: str, folder: Path) -> Case:
    """The run of that shape, written to `folder`, read and summarised."""
    run = synthetic.make_run(**SHAPES[name])
    run.write(folder, journal=name != "no_journal")
    study = load_study(folder)
    return Case(name, folder, run, study, summarise(study, {}), cold_anatomies(study))
