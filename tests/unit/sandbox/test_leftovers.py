"""What an earlier server has left where this one would not look; real leftovers are in tests/e2e/test_images_*.py."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from preheat.sandbox.choice import Choice
from preheat.sandbox.docker_api import DockerApi
from preheat.sandbox.leftovers import reap_unused

PROCESS = Choice("process", "the setting says so")


def test_containers_are_looked_for_where_they_are_not_in_use(tmp_path: Path) -> None:
    containers, docker = tmp_path / "containers", tmp_path / "docker"
    (containers / "environment" / "tmp").mkdir(parents=True)
    reap_unused(containers, docker, Choice("container", "all is here"))
    assert (containers / "environment").is_dir()  # the factory in use reaps for itself
    reap_unused(containers, docker, PROCESS)
    assert not containers.exists()
    reap_unused(containers, docker, PROCESS)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_does_not_answer_is_asked_again_by_the_next_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    docker, socket = tmp_path / "docker", tmp_path / "gone.sock"
    docker.mkdir()
    (docker / ".engine").write_text(str(socket))
    same = Choice("docker", "the setting says so", docker=DockerApi(socket))
    with caplog.at_level(logging.WARNING):
        reap_unused(tmp_path / "containers", docker, same)
        assert caplog.messages == []  # it is in use, and nobody's leftover
        for choice in (PROCESS, Choice("docker", "", docker=DockerApi(tmp_path / "another.sock"))):
            reap_unused(tmp_path / "containers", docker, choice)
    why = "no Docker engine answers: No such file or directory"
    assert caplog.messages == [f"an earlier server may have left containers and images in Docker's engine: {why}"] * 2
    assert (docker / ".engine").read_text() == str(socket)
