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
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the ten lines.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(run: Path, as_json: bool, quiet: bool) -> None:
    """Analyse RUN, a folder that `preheat load` wrote, and put the report into it.

    Writes report.html, figures/, performance_analysis.ipynb and summary.json. Each request is labelled cold or
    warm by its id, from the journal of the environment that served it.
    """
    from preheat.kernel.errors import PreheatError

    def say(step: str) -> None:
        if not quiet:
            click.echo(f"{run.name}: {step} …", err=True)

    try:
        report = _write(run, say)
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


def _write(run: Path, say: Callable[[str], None]) -> Report:
    from preheat.kernel.errors import PreheatError

    try:
        import jupytext  # type: ignore[import-untyped]  # noqa: F401
        import matplotlib  # noqa: F401
        import nbclient  # noqa: F401
    except ImportError as error:
        raise PreheatError(f"{error.name} is missing: pip install 'preheat[report]'", 253) from None
    from preheat.analysis.report import write_report

    try:
        return write_report(run, say)
    except OSError as error:
        raise PreheatError(f"{error.filename or run}: {error.strerror}") from None
