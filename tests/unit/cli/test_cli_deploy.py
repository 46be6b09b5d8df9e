from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from preheat.cli import deploy, load


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
    command = [sys.executable, "-m", "preheat", "deploy", *arguments]
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert result.stdout == ""
    return result.returncode, result.stderr


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "lambda_function.py").write_text("def lambda_handler(event, context): ...\n", "utf-8")
    return "demo"


def test_without_a_local_cloud_it_says_what_to_run(project: str) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        expected = f"preheat: nothing answers at {url}: run `preheat up` first\n"
        assert run(project, "--endpoint-url", url) == (253, expected)


def test_mistakes_are_usage_errors(project: str) -> None:
    assert run("missing") == (252, "preheat: missing: no such directory\n")
    assert run(project, "--env", "x") == (252, "preheat: --env x: give NAME=VALUE\n")
    code, line = run(project, "--profile", "none")
    assert (code, line) == (253, "preheat: The config profile (none) could not be found\n")


def test_aws_asks_first_and_a_no_changes_nothing(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, line = run(project, "--target", "aws", "--region", "us-east-1", stdin="n\n")
    assert code == 130
    assert "Deploy demo to your AWS account in us-east-1? [y/N]" in line
    assert not Path(".preheat").exists()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    code, line = run(project, "--target", "aws", "--region", "us-east-1", "--yes")
    assert (code, "AWS_ENDPOINT_URL points elsewhere" in line) == (252, True)


def test_the_commands_import_nothing_heavy() -> None:
    heavy = ("boto3", "botocore", "locust", "gevent", "preheat.deploy", "preheat.load")
    code = f"import sys, preheat.cli.deploy, preheat.cli.load; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


@pytest.mark.parametrize("command", [deploy.command, load.command])
def test_help_names_every_option(command: object) -> None:
    text = CliRunner().invoke(command, ["--help"]).stdout  # type: ignore[arg-type]
    for parameter in command.params:  # type: ignore[attr-defined]
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in text
