"""`preheat compare`: runs side by side, with an interval for every difference."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="compare")
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Lay runs side by side; each is compared with the first.

    Each RUN is a folder that `preheat load` wrote, or a file or folder that `preheat report` can read.
    """
    from preheat.kernel.errors import PreheatError

    if len(runs) < 2:
        raise click.UsageError("give two runs at least")
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise PreheatError("numpy is missing: pip install 'preheat[report]'", 253) from None
    from preheat.analysis.compare import compare, lines

    comparison = compare(runs)
    if as_json:
        click.echo(json.dumps(comparison, indent=2, ensure_ascii=False))
        return
    for line in lines(comparison):
        click.echo(line)
