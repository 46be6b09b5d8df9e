"""`preheat doctor`."""

from __future__ import annotations

import json

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1).")
def command(as_json: bool) -> None:
    """Say what this machine can do: interpreters, isolation, limits, and what is missing for what."""
    from preheat import doctor

    findings = doctor.examine()
    if as_json:
        click.echo(json.dumps({"schema": 1, "findings": [finding.__dict__ for finding in findings]}))
        return
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'no  '} {finding.what}: {finding.detail}")
