"""`preheat gc`: give back the disk that images nobody needs still take."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path

import click


@click.command(name="gc")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--all", "everything", is_flag=True, help="Also what is younger than an hour: stops pushes under way.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def command(data_dir: Path, everything: bool, as_json: bool) -> None:
    """Remove blobs that no image or function needs, uploads given up, and what builds have left.

    Whatever is younger than an hour stays, for a push may still be under way. Works with the local cloud running
    or not; what functions' images need is never removed.
    """
    from preheat.cli.control import find
    from preheat.kernel.errors import PreheatError
    from preheat.oci.workshop import Workshop

    if not data_dir.is_dir():
        raise PreheatError(f"{data_dir}: no such directory", 252)
    running = find(data_dir)
    registry = _by_server(running.endpoint_url, everything) if running else _by_ourselves(data_dir, everything)
    grace_s = 0.0 if everything else 3600.0
    count, freed = Workshop(data_dir).collect(grace_s) if (data_dir / "images").is_dir() else (0, 0)
    count, freed = count + registry[0], freed + registry[1]
    if as_json:
        click.echo(json.dumps({"schema": 1, "files": count, "freed_bytes": freed}))
    else:
        click.echo(f"{count} files removed, {freed / 2**20:.1f} MB freed")


def _by_server(endpoint_url: str, everything: bool) -> tuple[int, int]:
    from preheat.kernel.errors import PreheatError

    url = f"{endpoint_url}/_preheat/gc{'?all' if everything else ''}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=300) as answer:
            value = json.load(answer)
    except (OSError, ValueError) as error:
        raise PreheatError(f"{endpoint_url} did not collect: {error}", 255) from None
    return value["files"], value["freed_bytes"]


def _by_ourselves(data_dir: Path, everything: bool) -> tuple[int, int]:
    from preheat.kernel.settings import Settings
    from preheat.server import claimed
    from preheat.services.ecr.registry import GRACE_S, Registry
    from preheat.services.ecr.source import RegistryImages

    with claimed(data_dir):
        registry = Registry(data_dir, Settings().account_id)
        try:
            grace_s = 0.0 if everything else GRACE_S
            collected = registry.collect(grace_s)
            directories = asyncio.run(RegistryImages(registry, data_dir).collect())
        finally:
            registry.close()
    return collected.files + directories, collected.freed_bytes
