"""`preheat report`: what a run's cold starts cost, as figures, page, notebook and ten lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from preheat.analysis.report import Report


@click.command(name="report")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--logs", "function", metavar="FUNCTION", help="Fetch the function's log from CloudWatch for the run.")
@click.option(
    "--target",
    type=click.Choice(["local", "aws"]),
    help="Where --logs fetches from. Default: the run's, else local.",
)
@click.option("--endpoint-url", help="Address of the local cloud.  [default: the run's, else http://127.0.0.1:4566]")
@click.option("--region", help="AWS region of --logs.")
@click.option("--profile", help="AWS profile of --logs.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report. Default: PATH, or beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the ten lines.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    paths: tuple[Path, ...],
    function: str | None,
    target: str | None,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Analyse a run and write its report.

    Each PATH is a folder that `preheat load` wrote, or any folder or file of a Locust run (--logfile text, --csv
    tables, --html report) or of a function's log (CloudWatch or Logs Insights CSV, JSON, text). They are read together.

    Writes report.html, figures/, performance_analysis.ipynb and summary.json. Each request is labelled cold or
    warm by its id where there is one, else by joining it to the log in time, else by its response time.
    """
    from preheat.kernel.errors import PreheatError

    def say(step: str) -> None:
        if not quiet:
            click.echo(f"{paths[0].name}: {step} …", err=True)

    try:
        _require_extra()
        given = list(paths)
        if function is not None:
            given.append(_fetch(given, out, function, target, endpoint_url, region, profile, say))
        report = _write(given, out, say)
    except PreheatError as error:
        click.echo(f"preheat report: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    if as_json:
        click.echo(json.dumps(report.summary, indent=2, ensure_ascii=False))
        return
    for line in report.lines:
        click.echo(line)
    for warning in report.summary["warnings"]:
        click.echo(f"warning: {warning['message']}", err=True)


def _require_extra() -> None:
    from preheat.kernel.errors import PreheatError

    try:
        import duckdb  # noqa: F401
        import jupytext  # type: ignore[import-untyped]  # noqa: F401
        import matplotlib  # noqa: F401
        import nbclient  # noqa: F401
    except ImportError as error:
        raise PreheatError(f"{error.name} is missing: pip install 'preheat[report]'", 253) from None


def _write(paths: list[Path], out: Path | None, say: Callable[[str], None]) -> Report:
    from preheat.analysis.report import home_of, write_report
    from preheat.kernel.errors import PreheatError

    home = out or home_of([path for path in paths if path.parent.name != _FETCHED] or paths)
    try:
        return write_report([path for path in paths if not _lies_in(path, paths[0])], say, home)
    except OSError as error:
        raise PreheatError(f"{error.filename or paths[0]}: {error.strerror}") from None


_FETCHED = "lambda_logs"


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a fetched log is in the run's folder, and so read with it."""
    return path != folder and folder.is_dir() and folder in path.parents


def _fetch(
    paths: list[Path],
    out: Path | None,
    function: str,
    target: str | None,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
    say: Callable[[str], None],
) -> Path:
    """Write the function's log events of the run's time into the report's folder, and tell where."""
    from preheat.analysis.report import home_of
    from preheat.cli.fetch_logs import fetch_logs

    home = out or home_of(paths)
    say(f"fetching the log of {function}")
    return fetch_logs(
        paths, home / _FETCHED, function, target=target, endpoint_url=endpoint_url, region=region, profile=profile
    )
