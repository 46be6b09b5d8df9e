"""`preheat compare`: runs side by side, with an interval for every difference."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="compare")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the page.  [default: preheat-compare beside the first RUN]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--no-page", is_flag=True, help="Print only; write no page and no figures.")
def command(runs: tuple[Path, ...], out: Path | None, as_json: bool, no_page: bool) -> None:
    """Lay runs side by side; each is compared with the first.

    Each RUN is a folder that `preheat load` wrote, or a file or folder that `preheat report` can read. Writes
    compare.html, compare.json and figures/.
    """
    from preheat.kernel.errors import PreheatError

    if len(runs) < 2:
        raise click.UsageError("give two runs at least")
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PreheatError(f"{error.name} is missing: pip install 'preheat[report]'", 253) from None
    from preheat.analysis.compare import lines, load_runs
    from preheat.analysis.compare_page import write_comparison

    if no_page:
        _, comparison = load_runs(runs)
        printed = [*lines(comparison), comparison["sentence"]]
    else:
        try:
            comparison, printed = write_comparison(runs, out or runs[0].absolute().parent / "preheat-compare")
        except OSError as error:
            raise PreheatError(f"{error.filename}: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps(comparison, indent=2, ensure_ascii=False))
        return
    for line in printed:
        click.echo(line)
