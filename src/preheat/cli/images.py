"""Building and pushing images, for the commands that do: the wiring of a workshop to this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.kernel.errors import PreheatError

if TYPE_CHECKING:
    from preheat.oci.layout import Layout
    from preheat.oci.manifest import Descriptor
    from preheat.oci.reference import Reference
    from preheat.oci.workshop import Workshop
    from preheat.sandbox.choice import Choice

Say = Callable[[str], None]


def build_image(
    workshop: Workshop,
    directory: Path,
    name: str,
    say: Say,
    *,
    dockerfile: Path | None = None,
    arguments: Mapping[str, str] | None = None,
    target: str | None = None,
    cached: bool = True,
) -> Descriptor:
    """Build the image of a directory's Dockerfile and give it a name. Raises PreheatError."""
    from preheat.cli.registry import credentials
    from preheat.guest import preheat_emulator
    from preheat.kernel.interpreters import interpreter
    from preheat.oci.dockerfile import DockerfileError
    from preheat.oci.plan import BuildPlan
    from preheat.sandbox.build_container import BuildContainers, cannot_build

    path = dockerfile or directory / "Dockerfile"
    if not path.is_file():
        raise PreheatError(f"{path}: no such file", 252)
    plan = BuildPlan(directory, path, arguments or {}, target, cached)
    no_runner = cannot_build()
    try:
        return workshop.build(
            plan,
            name,
            lambda version: interpreter(f"python{version}"),
            Path(preheat_emulator.__file__),
            credentials,
            say,
            BuildContainers() if no_runner is None else None,
            no_runner or "",
            os.environ,
        )
    except DockerfileError as error:
        raise PreheatError(f"{path}: {error}", 255) from None
    except ValueError as error:
        raise PreheatError(str(error), 252) from None
    except OSError as error:
        raise PreheatError(f"{path}: {error}", 255) from None


def push_image(
    layout: Layout, image: Descriptor, target: Reference, say: Say, *, create: bool, profile: str | None = None
) -> Descriptor:
    """Push a local image, of an index the one for this machine; returns what was pushed. Raises PreheatError."""
    from preheat.cli.registry import create_repository, credentials
    from preheat.oci.client import RegistryClient, RegistryError

    client = RegistryClient(target.registry, credentials(target.registry, profile))
    try:
        chosen = single(layout, image)
        if create:
            create_repository(target.registry, target.repository, profile)
            say(f"repository {target.repository} is there")
        client.push(layout, chosen, target.repository, target.tag, say)
    except RegistryError as error:
        hint = " (create it with: preheat push --create)" if error.code == "NAME_UNKNOWN" else ""
        raise PreheatError(f"{error}{hint}", 254) from None
    finally:
        client.close()
    return chosen


def publish_directory(
    directory: Path, target: Reference, builder: str, data_dir: Path, profile: str | None, say: Say
) -> str:
    """Build a directory's image and push it; returns its URI. `builder` is "preheat" or "docker".

    Raises PreheatError.
    """
    from preheat.oci.workshop import Workshop

    if builder == "docker":
        _by_docker(directory, target, profile, say)
    else:
        workshop = Workshop(data_dir)
        image = build_image(workshop, directory, target.repository, say)
        say(f"built {target.repository}: {image.digest}")
        push_image(workshop.layout, image, target, say, create=True, profile=profile)
    say(f"pushed {target}")
    return str(target)


def _by_docker(directory: Path, target: Reference, profile: str | None, say: Say) -> None:
    from preheat.cli.registry import create_repository, credentials

    docker = shutil.which("docker")
    if docker is None:
        raise PreheatError("--builder docker: there is no docker command on PATH (leave the option out)", 253)
    create_repository(target.registry, target.repository, profile)
    say(f"repository {target.repository} is there")
    user, _, password = credentials(target.registry, profile).partition(":")
    # Lambda takes no image index, which BuildKit makes of an image and its provenance
    environ = {**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    _docker([docker, "build", "--tag", str(target), str(directory)], environ, say)
    with tempfile.TemporaryDirectory() as config:  # the token is nothing to keep in anyone's ~/.docker
        mine = ["--config", config]
        _docker(
            [docker, *mine, "login", "--username", user, "--password-stdin", target.registry], environ, say, password
        )
        _docker([docker, *mine, "push", str(target)], environ, say)


def _docker(command: list[str], environ: Mapping[str, str], say: Say, text: str = "") -> None:
    say(" ".join(command))
    done = subprocess.run(command, env=environ, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()
        raise PreheatError(f"{' '.join(command[:2])}: {lines[-1]}", 255)


def image_sandbox(wanted: str) -> Choice:
    """Where functions from images run on this machine, and why there. Raises PreheatError where what is `wanted`
    (the setting `image_sandbox`) cannot be had."""
    from preheat.kernel.settings import Settings
    from preheat.sandbox.choice import choose

    choice = choose(wanted, Settings().docker_host)
    if choice.problem:
        raise PreheatError(f"the {wanted} sandbox cannot be had here: {choice.problem}", 253)
    return choice


def single(layout: Layout, image: Descriptor) -> Descriptor:
    """The image itself, or of an index the one for this machine."""
    from preheat.oci.manifest import choose_platform
    from preheat.oci.plan import architecture

    manifest = layout.manifest(image)
    if not manifest.is_index:
        return image
    chosen = choose_platform(manifest, architecture())
    if chosen is None:
        raise PreheatError(f"the image has no manifest for linux/{architecture()}", 255)
    return chosen
