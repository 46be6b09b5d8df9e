"""`preheat demo`: the steps in order, each as a person would type it; everything stopped whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from preheat.cli import control, demo
from preheat.cli.control import Running
from preheat.kernel.errors import PreheatError
from preheat.kernel.settings import Settings
from preheat.sandbox import choice


class Stage:
    """Stands in for the other commands; `failing` is the one that goes wrong."""

    def __init__(self, failing: str = "") -> None:
        self.seen: list[str] = []
        self.calls: dict[str, list[str]] = {}
        self.every: list[list[str]] = []
        self.settings = Settings()
        self._failing = failing

    def start(self, settings: Settings) -> Running:
        assert settings.port == 0  # a free one: the demo disturbs nobody's server
        self.seen.append("start")
        self.settings = settings
        return Running(1, "http://127.0.0.1:5", settings.data_dir)

    def stop(self, running: Running) -> None:
        self.seen.append("stop")

    def call(self, name: str, arguments: list[str]) -> None:
        self.seen.append(name)
        self.calls[name] = arguments
        self.every.append([name, *arguments])
        if name == self._failing:
            raise PreheatError(f"{name} went wrong")


def play(stage: Stage, monkeypatch: pytest.MonkeyPatch, directory: Path, *options: str) -> Result:
    project = directory / "flowers"
    project.mkdir(exist_ok=True)
    (project / "lambda_function.py").write_text("")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(control, "start_detached", stage.start)
    monkeypatch.setattr(control, "stop", stage.stop)
    monkeypatch.setattr(demo, "_call", stage.call)
    monkeypatch.setattr(demo, "_draw_comparison", lambda runs: stage.seen.append("draw"))
    return CliRunner().invoke(demo.command, ["--project", "flowers", "--out", "run", *options])


def test_the_steps_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage()
    shown = play(stage, monkeypatch, tmp_path)
    assert shown.exit_code == 0
    assert stage.seen == ["start", "deploy", "load", "report", "stop"]
    assert "run/report.html" in shown.output


def test_the_load_is_the_assignments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage()
    play(stage, monkeypatch, tmp_path)
    load = " ".join(stage.calls["load"])
    assert load.startswith("flowers --users 100 --spawn-rate 20.0 --run-time 60s --out run")
    assert "--endpoint-url http://127.0.0.1:5" in " ".join(stage.calls["deploy"])


def test_options_reach_the_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage()
    play(stage, monkeypatch, tmp_path, "--users", "3", "--run-time", "5s")
    assert {"3", "5s"} <= set(stage.calls["load"])


def test_snapstart_is_a_second_run_at_the_same_load_and_a_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = Stage()
    shown = play(stage, monkeypatch, tmp_path, "--snapstart")
    assert stage.seen == ["start", *["deploy", "load", "report"] * 2, "compare", "draw", "stop"]
    plain, snapshot = ([call for call in stage.every if call[0] == name] for name in ("deploy", "load"))
    assert [("--snapstart" in call) for call in plain] == [False, True]
    assert snapshot[1] == ["run-snapstart" if word == "run" else word for word in snapshot[0]]
    assert stage.calls["compare"] == ["run", "run-snapstart", "--out", "run-snapstart/preheat-compare"]
    assert "open run-snapstart/preheat-compare/compare.html" in shown.output
    assert "run/report.html" in shown.output
    assert "run-snapstart/report.html" in shown.output


@pytest.fixture
def with_dockerfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers/Dockerfile").write_text("FROM scratch")
    monkeypatch.setattr(choice, "unusable", lambda: None)
    return tmp_path


def test_a_project_with_a_dockerfile_goes_as_an_image(monkeypatch: pytest.MonkeyPatch, with_dockerfile: Path) -> None:
    stage = Stage()
    shown = play(stage, monkeypatch, with_dockerfile)
    assert "--image" in stage.calls["deploy"]
    assert "builder preheat build (no Docker)" in shown.output
    assert "sandbox container (root, runc and overlayfs are here)" in shown.output
    assert stage.settings.image_sandbox == "auto"


def test_builder_and_sandbox_are_chosen_on_request(monkeypatch: pytest.MonkeyPatch, with_dockerfile: Path) -> None:
    stage = Stage()
    shown = play(stage, monkeypatch, with_dockerfile, "--builder", "docker", "--sandbox", "process")
    assert " ".join(stage.calls["deploy"]).count("--image --builder docker") == 1
    assert "builder docker build and docker push; sandbox process" in shown.output
    assert stage.settings.image_sandbox == "process"
    by_directory = Stage()
    shown = play(by_directory, monkeypatch, with_dockerfile, "--package", "directory")
    assert "--image" not in by_directory.calls["deploy"]
    assert "its directory as it is, in the process sandbox" in shown.output


def test_a_sandbox_that_is_not_there_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, with_dockerfile: Path
) -> None:
    monkeypatch.setattr(choice, "unusable", lambda: "it takes root")
    stage = Stage()
    shown = play(stage, monkeypatch, with_dockerfile, "--sandbox", "container")
    assert isinstance(shown.exception, PreheatError)
    assert str(shown.exception) == "the container sandbox cannot be had here: it takes root"
    assert stage.seen == []


@pytest.mark.parametrize("failing", ["deploy", "load", "report"])
def test_a_step_that_fails_ends_it_and_the_server_is_stopped(
    failing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = Stage(failing)
    shown = play(stage, monkeypatch, tmp_path)
    assert isinstance(shown.exception, PreheatError)
    assert stage.seen[-2:] == [failing, "stop"]


def test_outside_a_clone_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(demo.command, [])
    assert isinstance(shown.exception, PreheatError)
    assert (shown.exception.exit_code, "give --project" in str(shown.exception)) == (252, True)
    assert list(tmp_path.iterdir()) == []
