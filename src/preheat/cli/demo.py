"""`preheat demo`: the whole loop of a cold-start study, one step after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from preheat.cli.control import Running


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
@click.option(
    "--package",
    type=click.Choice(["image", "directory"]),
    default="image",
    show_default=True,
    help="As a container image through the registry, or the directory as it is.",
)
@click.option(
    "--builder",
    type=click.Choice(["preheat", "docker"]),
    default="preheat",
    show_default=True,
    help="What builds and pushes the image.",
)
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "container", "docker", "process"]),
    default="auto",
    show_default=True,
    help="Where functions from images run; auto takes what this machine has.",
)
@click.option("--snapstart", is_flag=True, help="Run the same load again with SnapStart, and compare.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run. Default: runs/<time>-<function>.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path(".preheat/demo"),
    show_default=True,
    help="Where the demo's local cloud keeps its state.",
)
def command(
    project: Path,
    users: int,
    spawn_rate: float,
    run_time: str,
    package: str,
    builder: str,
    sandbox: str,
    snapstart: bool,
    out: Path | None,
    data_dir: Path,
) -> None:
    """Start a local cloud, deploy the Iris example, load it with Locust, report on its cold starts, stop.

    The example goes the way of the real thing: its Dockerfile becomes an image, the image goes to the registry and a
    function is created from it. Takes about two minutes, twice that with --snapstart, needs no account and no Docker,
    and leaves no process behind.
    """
    from preheat import config
    from preheat.cli import control
    from preheat.kernel.errors import PreheatError
    from preheat.load.plan import new_run_folder

    if not (project / "lambda_function.py").is_file():
        raise PreheatError(f"{project}: no lambda_function.py there (run this in a clone, or give --project)", 252)
    name = project.resolve().name
    run = out or new_run_folder(Path("runs"), name)
    with_snapshot = run.with_name(f"{run.name}-snapstart")
    load = ["--users", str(users), "--spawn-rate", str(spawn_rate), "--run-time", run_time]
    way = _way(project, package, builder, sandbox)
    say = _Steps(9 if snapstart else 5)
    began = time.monotonic()

    say("starting the local cloud on a free port")
    settings = {"data_dir": data_dir, "port": 0, **way.settings}
    running = control.start_detached(config.load(Path.cwd(), settings))
    try:
        click.echo(f"{running.endpoint_url} (pid {running.pid}, state in {data_dir})")
        click.echo(way.words)
        _study(say, running, project, name, load, run, *way.options)
        if snapstart:
            _study(say, running, project, name, load, with_snapshot, *way.options, "--snapstart")
            say("comparing the two runs")
            compared = with_snapshot / "preheat-compare"
            _call("compare", [str(run), str(with_snapshot), "--out", str(compared)])
            _draw_comparison([run, with_snapshot])
    finally:
        say("stopping everything")
        control.stop(running)
    click.echo(f"stopped; {time.monotonic() - began:.0f} s in all")
    for folder in (run, with_snapshot) if snapstart else (run,):
        click.echo(f"open {folder / 'report.html'}; the figures are in {folder / 'figures'}")
    if snapstart:
        click.echo(f"open {compared / 'compare.html'}: the two runs side by side")


@dataclass(frozen=True)
class _Way:
    """How the example gets into the cloud: options of `preheat deploy`, settings of the cloud, and both in words."""

    words: str
    options: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def _way(project: Path, package: str, builder: str, sandbox: str) -> _Way:
    """Raises PreheatError where the sandbox that was asked for cannot be had."""
    from preheat.cli.images import image_sandbox

    by_directory = "its directory as it is, in the process sandbox"
    if package == "directory":
        return _Way(f"the example goes as {by_directory}")
    if not (project / "Dockerfile").is_file():
        return _Way(f"the example goes as {by_directory}: it has no Dockerfile")
    choice = image_sandbox(sandbox)
    by = "docker build and docker push" if builder == "docker" else "preheat build (no Docker), preheat's own push"
    options = ("--image", *(("--builder", "docker") if builder == "docker" else ()))
    words = f"the example goes as a container image: builder {by}; sandbox {choice.kind} ({choice.why})"
    return _Way(words, options, {"image_sandbox": sandbox} if sandbox != "auto" else {})


class _Steps:
    """Announces what comes next, numbered."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._step = 0

    def __call__(self, what: str) -> None:
        self._step += 1
        click.echo(click.style(f"\n[{self._step}/{self._count}] {what}", bold=True))


def _study(say: _Steps, running: Running, project: Path, name: str, load: list[str], out: Path, *how: str) -> None:
    """Deploy, load, report; `how` are further options of the deployment."""
    where = ["--data-dir", str(running.data_dir)]
    say(f"deploying {project} through the AWS APIs{' with SnapStart' if '--snapstart' in how else ''}")
    _call("deploy", [str(project), "--name", name, *how, "--endpoint-url", running.endpoint_url, *where])
    say(f"loading it with Locust: {' '.join(load)}")
    _call("load", [name, *load, "--out", str(out), *where])
    say("analysing the run")
    _call("report", [str(out)])


def _draw_comparison(runs: list[Path]) -> None:
    """Both histograms of cold starts in one picture, in the last run's folder; its title in words."""
    from preheat.analysis.figures.side_by_side import NAME, save_side_by_side
    from preheat.analysis.study import load_study

    folder = runs[-1] / "figures"
    click.echo(save_side_by_side([load_study(run) for run in runs], folder))
    click.echo(f"{folder / NAME}.png, {folder / NAME}.svg")


def _call(name: str, arguments: list[str]) -> None:
    """Another command, just as a person would have called it."""
    from importlib import import_module

    click.echo(click.style(f"$ preheat {name} {' '.join(arguments)}", dim=True))
    import_module(f"preheat.cli.{name}").command.main(arguments, prog_name=f"preheat {name}", standalone_mode=False)
