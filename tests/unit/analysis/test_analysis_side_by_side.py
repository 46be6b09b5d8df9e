"""Two runs on one axis: the sentence is right about the difference, or says that it cannot know."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import synthetic
from analysis_cases import Case

from preheat.analysis.figures.side_by_side import how, met_a_cold_start, save_side_by_side, side_by_side, what_changed
from preheat.analysis.labels import Label
from preheat.analysis.study import Study, load_study


def restored(folder: Path, **facts: Any) -> Study:
    """A run whose starts take some ms instead of seconds, its run.json completed by `facts`."""
    synthetic.make_run(init_ms=(4.0, 9.0), seed=3).write(folder, journal=True)
    info = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(json.dumps({**info, **facts}), "utf-8")
    return load_study(folder)


def test_the_sentence_tells_the_difference_and_its_interval(cases: dict[str, Case], tmp_path: Path) -> None:
    plain, quick = cases["few_places"].study, restored(tmp_path, snap_start=True)
    assert min(len(met_a_cold_start(plain)), len(met_a_cold_start(quick))) >= 5
    pattern = (
        r"52 requests met a cold start without a snapshot \(median 1\.07 s\), 5 with SnapStart \(median 22 ms\): "
        r"1\.05 s less \(95% interval 7\d\d ms to 1\.3\d s\)\."
    )
    assert re.fullmatch(pattern, what_changed(plain, quick))
    assert re.search(r": 1\.05 s more \(95% interval 7\d\d ms to 1\.3\d s\)\.$", what_changed(quick, plain))


def test_equal_runs_show_no_clear_difference(cases: dict[str, Case]) -> None:
    study = cases["few_places"].study
    assert what_changed(study, study).endswith(": no clear difference.")


@pytest.mark.parametrize("name", ["none_cold", "one", "empty"])
def test_few_cold_starts_are_not_compared(cases: dict[str, Case], name: str) -> None:
    text = what_changed(cases["few_places"].study, cases[name].study)
    assert text.endswith(": too few to say what changed.")


def test_both_pictures_are_written_with_units_and_every_request(cases: dict[str, Case], tmp_path: Path) -> None:
    studies = [cases["few_places"].study, restored(tmp_path / "run", provisioned=2)]
    sentence = save_side_by_side(studies, tmp_path / "figures")
    assert (tmp_path / "figures" / "cold_comparison.png").read_bytes().startswith(b"\x89PNG")
    text = " ".join(ElementTree.parse(tmp_path / "figures" / "cold_comparison.svg").getroot().itertext())
    assert "response time at the client (ms, logarithmic)" in text
    assert "with 2 provisioned environments, cold: " in text
    figure = side_by_side(studies, sentence)
    for panel, study in zip(figure.axes, studies, strict=True):
        cold, stacked = panel.containers
        waited = sum(bar.get_height() for bar in stacked)
        assert sum(bar.get_height() for bar in cold) == len(study.times_ms(Label.COLD))
        assert waited == len(study.times_ms(Label.WARM_WAITED))


def test_runs_without_cold_starts_say_so(cases: dict[str, Case]) -> None:
    figure = side_by_side([cases["empty"].study] * 2, "x")
    assert [panel.texts[0].get_text() for panel in figure.axes] == ["without a snapshot: no cold starts"] * 2
    assert how(cases["empty"].study) == "without a snapshot"
