"""`preheat env`: what a shell evaluates."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from preheat.cli.env import command

ALL = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALL:
        monkeypatch.delenv(name, raising=False)


def exports(*arguments: str) -> dict[str, str]:
    done = CliRunner().invoke(command, list(arguments))
    assert done.exit_code == 0
    found = {}
    for line in done.stdout.splitlines():
        word, pair = shlex.split(line)
        assert word == "export"
        name, _, value = pair.partition("=")
        found[name] = value
    return found


def test_without_a_server_the_usual_address(tmp_path: Path) -> None:
    found = exports("--data-dir", str(tmp_path))
    expected = dict(zip(ALL, ["http://127.0.0.1:4566", "test", "test", "us-east-1"], strict=True))
    assert found == expected


def test_options_win(tmp_path: Path) -> None:
    found = exports("--data-dir", str(tmp_path), "--endpoint-url", "http://127.0.0.1:9", "--region", "eu-west-1")
    assert (found["AWS_ENDPOINT_URL"], found["AWS_DEFAULT_REGION"]) == ("http://127.0.0.1:9", "eu-west-1")


def test_ones_own_credentials_and_region_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALL:
        monkeypatch.setenv(name, "mine")
    assert list(exports("--data-dir", str(tmp_path))) == ["AWS_ENDPOINT_URL"]
