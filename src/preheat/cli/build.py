"""`preheat build`: a container image from a Dockerfile, without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="build")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("-t", "--tag", "name", required=True, help="Name of the image, as for docker build.")
@click.option("-f", "--file", "dockerfile", type=click.Path(path_type=Path), help="Default: DIRECTORY/Dockerfile.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Value of an ARG.")
@click.option("--target", help="The stage to build. Default: the last.")
@click.option("--no-cache", is_flag=True, help="Run every RUN again.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print name, digest and layout as JSON.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    directory: Path,
    name: str,
    dockerfile: Path | None,
    arguments: tuple[str, ...],
    target: str | None,
    no_cache: bool,
    data_dir: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build the image of DIRECTORY's Dockerfile into DATA_DIR/images, an OCI image layout.

    FROM takes a local image, an image of a registry on this machine, or the name of a Lambda Python base image,
    which is made from the interpreter of that version where it is not among the local images. RUN runs in a
    container (Linux, root, runc), with this machine's network; where none can be started it takes pip install alone.
    """
    from preheat.cli.images import build_image
    from preheat.oci.workshop import Workshop

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    workshop = Workshop(data_dir)
    image = build_image(
        workshop,
        directory,
        name,
        say,
        dockerfile=dockerfile,
        arguments=_pairs(arguments),
        target=target,
        cached=not no_cache,
    )
    if as_json:
        facts = {"schema": 1, "name": name, "digest": image.digest, "layout": str(workshop.layout.root)}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(image.digest)
        say(f"built {name}; push it with: preheat push {name}")


def _pairs(arguments: tuple[str, ...]) -> dict[str, str]:
    from preheat.kernel.errors import PreheatError

    pairs: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise PreheatError(f"--build-arg {argument}: give NAME=VALUE", 252)
        pairs[key] = value
    return pairs
