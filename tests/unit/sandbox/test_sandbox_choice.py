"""Where functions from images run: what the machine has, or what the setting says."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker_fake import engine_of

from preheat.sandbox import choice
from preheat.sandbox.choice import choose

LINUX = {"OSType": "linux"}
NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture
def without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "unusable", lambda: "it takes root")


def test_containers_of_our_own_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "unusable", lambda: None)
    assert (choose("auto", NOWHERE).kind, choose("auto", NOWHERE).problem) == ("container", "")
    assert choose("container", NOWHERE).problem == ""


@pytest.mark.usefixtures("without_root")
def test_then_an_engine_that_answers(tmp_path: Path) -> None:
    with engine_of(tmp_path, lambda *_: (200, LINUX)) as address:
        chosen = choose("auto", address)
    assert (chosen.kind, chosen.problem) == ("docker", "")
    assert chosen.docker is not None
    assert "it takes root" in chosen.why


@pytest.mark.usefixtures("without_root")
def test_then_processes_and_why_nothing_better() -> None:
    chosen = choose("auto", NOWHERE)
    assert (chosen.kind, chosen.problem, chosen.docker) == ("process", "", None)
    assert "it takes root" in chosen.why
    assert "no Docker engine answers" in chosen.why


@pytest.mark.usefixtures("without_root")
def test_what_is_asked_for_and_not_here_is_refused_with_the_reason() -> None:
    assert (choose("container", NOWHERE).kind, choose("container", NOWHERE).problem) == ("container", "it takes root")
    assert choose("docker", NOWHERE).problem.startswith("no Docker engine answers")
    assert choose("process", NOWHERE).problem == ""
