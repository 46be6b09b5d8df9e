"""The command line as a whole: quick to start, complete in its help, exit codes as the aws CLI's."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import preheat
from preheat.cli import main as entry
from preheat.kernel.errors import PreheatError

NAMES = entry.cli.list_commands(click.Context(entry.cli))


def test_help_lists_every_command_with_its_line() -> None:
    shown = CliRunner().invoke(entry.cli, ["--help"])
    assert shown.exit_code == 0
    for name in NAMES:
        assert f"\n  {name} " in shown.output


@pytest.mark.parametrize("name", NAMES)
def test_every_command_loads_and_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(entry.cli, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("Usage: ")


def test_the_version() -> None:
    assert CliRunner().invoke(entry.cli, ["--version"]).output == f"preheat, version {preheat.__version__}\n"


def test_help_imports_no_command() -> None:
    code = "import sys; sys.argv = ['preheat', '--help']; import preheat.cli.main as m\n"
    code += "try: m.main()\nexcept SystemExit: pass\n"
    code += "print([n for n in sys.modules if n.startswith(('preheat.cli.', 'boto', 'uvloop', 'msgspec'))])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "['preheat.cli.main']"


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (None, 0, ""),
        (SystemExit(7), 7, ""),
        (click.exceptions.Exit(3), 3, ""),
        (click.UsageError("what?"), 252, "Error: what?\n"),
        (click.ClickException("no"), 255, "Error: no\n"),
        (PreheatError("wrong settings", 253), 253, "preheat: wrong settings\n"),
        (PreheatError("broken"), 255, "preheat: broken\n"),
        (click.Abort(), 130, "preheat: interrupted\n"),
        (KeyboardInterrupt(), 130, "preheat: interrupted\n"),
    ],
)
def test_exit_codes(
    raised: BaseException | None,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(**_: object) -> None:
        if raised is not None:
            raised.__traceback__ = None
            raise raised

    monkeypatch.setattr(entry.cli, "main", run)
    status = 0
    try:
        entry.main()
    except SystemExit as done:
        status = int(done.code or 0)
    assert (status, capsys.readouterr()) == (code, ("", words))


@pytest.mark.parametrize(("value", "color"), [(None, None), ("", None), ("1", False)])
def test_no_color(value: str | None, color: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(entry.cli, "main", lambda **options: seen.append(options["color"]))
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    entry.main()
    assert seen == [color]


def test_an_unknown_command_is_a_usage_error() -> None:
    done = subprocess.run([sys.executable, "-m", "preheat", "fly"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (252, "")
    assert "No such command 'fly'" in done.stderr
