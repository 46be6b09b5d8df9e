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
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print name, digest and layout as JSON.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    directory: Path,
    name: str,
    dockerfile: Path | None,
    arguments: tuple[str, ...],
    target: str | None,
    data_dir: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build the image of DIRECTORY's Dockerfile into DATA_DIR/images, an OCI image layout.

    FROM takes a local image, an image of a registry on this machine, or the name of a Lambda Python base image,
    which is made from the interpreter of that version where it is not among the local images. RUN takes pip
    install alone. The same input gives the same digest.
    """
    from preheat.cli.registry import credentials
    from preheat.guest import preheat_emulator
    from preheat.kernel.errors import PreheatError
    from preheat.kernel.interpreters import interpreter
    from preheat.oci.builder import BuildPlan
    from preheat.oci.dockerfile import DockerfileError
    from preheat.oci.workshop import Workshop

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    path = dockerfile or directory / "Dockerfile"
    if not path.is_file():
        raise PreheatError(f"{path}: no such file", 252)
    plan = BuildPlan(directory, path, _pairs(arguments), target)
    workshop = Workshop(data_dir)
    emulator = Path(preheat_emulator.__file__)
    try:
        image = workshop.build(plan, name, lambda v: interpreter(f"python{v}"), emulator, credentials, say)
    except DockerfileError as error:
        raise PreheatError(f"{path}: {error}", 255) from None
    except ValueError as error:
        raise PreheatError(str(error), 252) from None
    except OSError as error:
        raise PreheatError(f"{path}: {error}", 255) from None
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
