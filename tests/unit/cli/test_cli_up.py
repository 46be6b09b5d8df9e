"""`preheat up`: options become settings, the ready lines say where and what is not enforced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from preheat import server
from preheat.cli import control
from preheat.cli.control import Running
from preheat.cli.up import command
from preheat.kernel.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that a server was asked to run with; it is up at once and then ends."""
    seen: list[Settings] = []

    def run(settings: Settings, ready: Any) -> None:
        seen.append(settings)
        ready("http://127.0.0.1:4566", ["memory is not capped"])

    monkeypatch.setattr(server, "run", run)
    return seen


def test_options_become_settings(served: list[Settings]) -> None:
    options = ["--port", "0", "--max-inits", "3", "--keep-alive-s", "1.5", "--transport", "http", "--data-dir", "state"]
    assert CliRunner().invoke(command, options).exit_code == 0
    (settings,) = served
    assert (settings.port, settings.max_inits, settings.keep_alive_s) == (0, 3, 1.5)
    assert (settings.transport, settings.data_dir, settings.host) == ("http", Path("state"), "127.0.0.1")


def test_it_says_where_it_is_and_what_is_not_enforced(served: list[Settings]) -> None:
    shown = CliRunner().invoke(command, [])
    assert shown.stdout.splitlines() == [
        "preheat is up: http://127.0.0.1:4566 (Ctrl-C stops it)",
        'AWS clients find it after: eval "$(preheat env --endpoint-url http://127.0.0.1:4566)"',
    ]
    assert shown.stderr == "note: memory is not capped\n"


def test_quiet_is_quiet(served: list[Settings]) -> None:
    shown = CliRunner().invoke(command, ["--quiet"])
    assert (shown.stdout, shown.stderr, len(served)) == ("", "", 1)


def test_detached_returns_with_the_address(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        control, "start_detached", lambda settings: Running(12, "http://127.0.0.1:9", settings.data_dir)
    )
    shown = CliRunner().invoke(command, ["--detach"])
    assert shown.stdout == "preheat is up: http://127.0.0.1:9 (pid 12); stop it with: preheat down\n"
    assert served == []


@pytest.mark.parametrize("options", [["--port", "x"], ["--sandbox", "sieve"], ["--transport", "pigeon"], ["more"]])
def test_mistakes_are_usage_errors(served: list[Settings], options: list[str]) -> None:
    shown = CliRunner().invoke(command, options)
    assert (shown.exit_code, served) == (2, [])  # click's own; the entry point makes it 252


def test_defaults_in_the_help_are_the_settings_own() -> None:
    shown = " ".join(CliRunner().invoke(command, ["--help"], terminal_width=200).stdout.split())
    for name in ("host", "port", "data_dir", "region", "account_id", "account_concurrency", "transport", "sandbox"):
        option = f"--{name.replace('_', '-')} "
        assert f"(default {getattr(Settings(), name)}" in shown[shown.index(option) :][:200], name
    assert f"(default {Settings().keep_alive_s:g})" in shown
