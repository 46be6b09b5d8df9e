"""`preheat status`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("status")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), default=Path(".preheat"), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1).")
def command(data_dir: Path, as_json: bool) -> None:
    """Show where the local cloud listens, its functions and their execution environments."""
    from preheat.cli import control

    running = control.find(data_dir)
    status = control.get_json(running.endpoint_url, "/_preheat/status") if running else None
    if as_json:
        click.echo(json.dumps({"schema": 1, "up": status is not None, **(status or {})}))
    elif running is None or status is None:
        click.echo("down (start it with: preheat up)")
    else:
        click.echo(f"up       {running.endpoint_url} (pid {running.pid}, sandbox {status['sandbox']})")
        for name, counts in status["functions"].items():
            total = counts["idle"] + counts["starting"] + counts["serving"]
            detail = ", ".join(f"{count} {what}" for what, count in counts.items())
            click.echo(f"function {name}: {total} environments ({detail})")
    raise SystemExit(0 if status is not None else 255)
