"""`preheat demo`: the whole loop of a cold-start study, one step after the other."""

from __future__ import annotations

import time
from pathlib import Path

import click

_STEPS = 5


@click.command("demo")
@click.option(
    "--project",
    type=click.Path(path_type=Path),
    default=Path("examples/iris"),
    show_default=True,
    help="What to deploy: a directory with lambda_function.py and locustfile.py.",
)
@click.option("--users", default=100, show_default=True, help="Locust users.")
@click.option("--spawn-rate", default=20.0, show_default=True, help="Users started per second.")
@click.option("--run-time", default="60s", show_default=True, help="How long Locust runs.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run. Default: runs/<time>-<function>.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path(".preheat/demo"),
    show_default=True,
    help="Where the demo's local cloud keeps its state.",
)
def command(project: Path, users: int, spawn_rate: float, run_time: str, out: Path | None, data_dir: Path) -> None:
    """Start a local cloud, deploy the Iris example, load it with Locust, report on its cold starts, stop.

    Takes about two minutes, needs no account and no Docker, and leaves no process behind.
    """
    from preheat import config
    from preheat.cli import control
    from preheat.kernel.errors import PreheatError
    from preheat.load.plan import new_run_folder

    if not (project / "lambda_function.py").is_file():
        raise PreheatError(f"{project}: no lambda_function.py there (run this in a clone, or give --project)", 252)
    name = project.resolve().name
    run = out or new_run_folder(Path("runs"), name)
    began = time.monotonic()

    _say(1, "starting the local cloud on a free port")
    running = control.start_detached(config.load(Path.cwd(), {"data_dir": data_dir, "port": 0}))
    try:
        click.echo(f"{running.endpoint_url} (pid {running.pid}, state in {data_dir}, process sandbox)")
        _say(2, f"deploying {project} through the AWS APIs")
        where = ["--endpoint-url", running.endpoint_url, "--data-dir", str(data_dir)]
        _call("deploy", [str(project), "--name", name, *where])
        _say(3, f"loading it with Locust: {users} users, {spawn_rate:g} a second, {run_time}")
        load = ["--users", str(users), "--spawn-rate", str(spawn_rate), "--run-time", run_time]
        _call("load", [name, *load, "--out", str(run), "--data-dir", str(data_dir)])
        _say(4, "analysing the run")
        _call("report", [str(run)])
    finally:
        _say(5, "stopping everything")
        control.stop(running)
    click.echo(f"stopped; {time.monotonic() - began:.0f} s in all")
    click.echo(f"open {run / 'report.html'}; the figures are in {run / 'figures'}")


def _say(step: int, what: str) -> None:
    click.echo(click.style(f"\n[{step}/{_STEPS}] {what}", bold=True))


def _call(name: str, arguments: list[str]) -> None:
    """Another command, just as a person would have called it."""
    from importlib import import_module

    click.echo(click.style(f"$ preheat {name} {' '.join(arguments)}", dim=True))
    import_module(f"preheat.cli.{name}").command.main(arguments, prog_name=f"preheat {name}", standalone_mode=False)
