"""What an earlier server of the same data directory has left in a sandbox for images that this one does not use."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from preheat.kernel.errors import PreheatError
from preheat.sandbox.choice import Choice
from preheat.sandbox.container import ContainerFactory
from preheat.sandbox.docker import DockerFactory, engine, engine_of

log = logging.getLogger(__name__)


def reap_unused(containers: Path, docker: Path, choice: Choice) -> None:
    """Remove it; `containers` and `docker` are the factories' directories. The one in use reaps for itself."""
    if containers.exists() and (choice.kind != "container" or choice.problem):
        factory = ContainerFactory(containers)
        factory.reap()
        factory.close()
        shutil.rmtree(containers, ignore_errors=True)
    earlier = engine_of(docker)
    if earlier is not None and (choice.docker is None or choice.docker.path != earlier):
        try:
            left = DockerFactory(docker, engine(f"unix://{earlier}"))
        except PreheatError as error:  # the next start tries again
            log.warning("an earlier server may have left containers and images in Docker's engine: %s", error)
            return
        left.reap()
        left.images.keep(())
        left.close()
        shutil.rmtree(docker, ignore_errors=True)
