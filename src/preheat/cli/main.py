"""`preheat`: a click group whose commands are imported when they are used, so that --help is quick."""

from __future__ import annotations

import importlib
import os
import sys

import click

from preheat import __version__
from preheat.kernel.errors import PreheatError

_COMMANDS = {
    "up": "Start the local cloud and keep it running.",
    "down": "Stop the local cloud.",
    "status": "Show the local cloud: address, functions, execution environments.",
    "env": 'Print the variables that lead AWS clients here: eval "$(preheat env)".',
    "doctor": "Say what this machine can do and what it cannot.",
    "deploy": "Deploy a directory as a function behind a REST API.",
    "build": "Build a container image from a Dockerfile, without Docker.",
    "push": "Push a local image to the local cloud or to a real ECR.",
    "run": "Serve one image or directory at the address of AWS's emulator.",
    "gc": "Give back the disk that images nobody needs still take.",
    "load": "Load a deployed function with Locust and keep a run.",
    "profile": "Show where a function's init goes: imports, statements, memory, files.",
    "warm": "Keep a function's environments warm on a schedule.",
    "report": "Analyse a run: cold starts, warm requests, figures.",
    "compare": "Lay runs side by side, with an interval for every difference.",
    "demo": "The whole loop on the Iris example: start, deploy, load, report, stop.",
}


class LazyGroup(click.Group):
    """Lists commands from a table; imports `preheat.cli.<name>` for the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"preheat.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="preheat")
def cli() -> None:
    """Serve a model as an AWS Lambda function on this machine, see what its cold starts cost, and remove them."""


def main() -> None:
    """Run the command line; exit codes as the aws CLI's (docs/reference.md)."""
    try:
        # https://no-color.org; without it click colours what goes to a terminal
        cli.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(252)
    except click.ClickException as error:
        error.show()
        sys.exit(255)
    except PreheatError as error:
        click.echo(f"preheat: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("preheat: interrupted", err=True)
        sys.exit(130)
