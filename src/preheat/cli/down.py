"""`preheat down`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("down")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), default=Path(".preheat"), show_default=True
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(data_dir: Path, quiet: bool) -> None:
    """Stop the local cloud of this directory; requests in flight finish first."""
    from preheat.cli import control
    from preheat.kernel.errors import PreheatError

    running = control.find(data_dir)
    if running is None:
        raise PreheatError(f"nothing is up for {data_dir} (start it with: preheat up)", 255)
    control.stop(running)
    if not quiet:
        click.echo("preheat is down")
