"""`preheat push`: a local image into a registry, the local cloud's or a real ECR."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from preheat.oci.reference import Reference


@click.command(name="push")
@click.argument("name")
@click.argument("destination", required=False)
@click.option("--create", is_flag=True, help="Create the repository where it is missing.")
@click.option("--endpoint-url", help="Local cloud. Default: AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL, the one running.")
@click.option("--profile", help="Profile of the AWS configuration files, for a real ECR.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask before changing a real AWS account.")
@click.option("--json", "as_json", is_flag=True, help="Print the image's URI and digest as JSON.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    name: str,
    destination: str | None,
    create: bool,
    endpoint_url: str | None,
    profile: str | None,
    data_dir: Path,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push the local image NAME to DESTINATION: registry/repository:tag, or repository:tag in the local cloud.

    Without DESTINATION its repository is called as the image is. Of an image index it pushes the image for this
    machine's platform, which is what Lambda takes. A destination <account>.dkr.ecr.<region>.amazonaws.com is real.
    """
    from preheat.cli.images import push_image
    from preheat.cli.registry import ecr_region
    from preheat.kernel.errors import PreheatError
    from preheat.oci.workshop import Workshop

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    workshop = Workshop(data_dir)
    try:
        image = workshop.find(name)
        target = target_of(destination or name, endpoint_url, data_dir)
    except ValueError as error:
        raise PreheatError(str(error), 252) from None
    if image is None:
        known = ", ".join(workshop.layout.names()) or "none yet"
        raise PreheatError(f"there is no local image {name} (there are: {known}); make it with preheat build", 255)
    real = ecr_region(target.registry) is not None
    if real and not yes:
        click.confirm(f"Push to {target.registry}, a real AWS account?", abort=True, err=True)
    chosen = push_image(workshop.layout, image, target, say, create=create, profile=profile)
    uri = str(target)
    if as_json:
        click.echo(json.dumps({"schema": 1, "image_uri": uri, "digest": chosen.digest}, indent=2))
    else:
        click.echo(f"{target.registry}/{target.repository}@{chosen.digest}")
        say(f"pushed {uri}")


def target_of(text: str, endpoint_url: str | None, data_dir: Path) -> Reference:
    """Where to push to. Raises ValueError, PreheatError."""
    from dataclasses import replace

    from preheat.cli.control import find
    from preheat.kernel.errors import PreheatError
    from preheat.oci.reference import Reference

    reference = Reference.parse(text)
    if reference.digest:
        raise ValueError(f"{text}: push to a tag, not to a digest")
    if reference.registry:
        return reference
    environment = os.environ
    url = endpoint_url or environment.get("AWS_ENDPOINT_URL_ECR") or environment.get("AWS_ENDPOINT_URL")
    if not url:
        running = find(data_dir)
        if running is None:
            raise PreheatError("no local cloud is running: start it with preheat up, or name a registry", 255)
        url = running.endpoint_url
    return replace(reference, registry=urlsplit(url).netloc)
