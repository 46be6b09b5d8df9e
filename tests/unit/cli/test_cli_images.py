"""Images built and pushed by Docker on request: the commands it is given, and what a failure says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from preheat.cli import images, registry
from preheat.kernel.errors import PreheatError
from preheat.oci.reference import Reference

TARGET = Reference("127.0.0.1:4566", "flowers", "latest", "")


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the repositories created."""
    names: list[str] = []
    monkeypatch.setattr(registry, "create_repository", lambda host, name, profile: names.append(f"{host}/{name}"))
    monkeypatch.setattr(registry, "credentials", lambda host, profile: "AWS:token")
    return names


def docker(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A `docker` that writes its words and its input to a file."""
    program, log = directory / "docker", directory / "log"
    program.write_text(
        f'#!/bin/sh\n{{ echo "$@"; cat; echo "attestations $BUILDX_NO_DEFAULT_ATTESTATIONS"; }} >> {log}\n{script}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return log


def publish(directory: Path, said: list[str]) -> str:
    return images.publish_directory(directory, TARGET, "docker", directory / "data", None, said.append)


def test_docker_builds_logs_in_and_pushes(tmp_path: Path, created: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log = docker(tmp_path, monkeypatch, "")
    said: list[str] = []
    assert publish(tmp_path, said) == "127.0.0.1:4566/flowers:latest"
    build, _, login, secret, push, _ = log.read_text().splitlines()
    assert build == f"build --tag 127.0.0.1:4566/flowers:latest {tmp_path}"
    assert (login.split()[2:], secret) == (
        ["login", "--username", "AWS", "--password-stdin", "127.0.0.1:4566"],
        "tokenattestations 1",
    )
    assert push.split()[2:] == ["push", "127.0.0.1:4566/flowers:latest"]
    assert created == ["127.0.0.1:4566/flowers"]
    assert not any("token" in line for line in said)
    assert said[-1] == "pushed 127.0.0.1:4566/flowers:latest"


def test_what_docker_says_last_is_the_reason(
    tmp_path: Path, created: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(tmp_path, monkeypatch, "echo step >&2; echo no such base >&2; exit 1")
    with pytest.raises(PreheatError, match=r"docker build: no such base"):
        publish(tmp_path, [])


def test_without_docker_it_says_so(tmp_path: Path, created: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreheatError, match="no docker command on PATH"):
        publish(tmp_path, [])
