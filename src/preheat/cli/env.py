"""`preheat env`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("env")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), default=Path(".preheat"), show_default=True
)
@click.option("--endpoint-url", help="Use this address instead of asking the data directory.")
@click.option("--region", default="us-east-1", show_default=True)
def command(data_dir: Path, endpoint_url: str | None, region: str) -> None:
    """Print shell exports that lead boto3 and the aws CLI to the local cloud.

    Credentials are only set where there are none: any are accepted here.
    """
    from preheat.cli import control

    running = control.find(data_dir)
    url = endpoint_url or (running.endpoint_url if running else "http://127.0.0.1:4566")
    wanted = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": region}
    lines = {"AWS_ENDPOINT_URL": url, **{name: value for name, value in wanted.items() if not os.environ.get(name)}}
    for name, value in lines.items():
        click.echo(f"export {name}={value}")
