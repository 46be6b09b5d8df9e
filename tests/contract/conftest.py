"""Images and a Docker engine, made once. The end-to-end tests' clients are these tests' too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_core import Base, base_of_session, in_engine

from preheat.sandbox.docker import engine
from preheat.sandbox.docker_images import DockerImages

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))
from registry_tools import Docker


@pytest.fixture(scope="session")
def base_image(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return base_of_session(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory, base_image: Base) -> Iterator[Docker]:
    """An engine that has the base image already."""
    started = Docker(tmp_path_factory.mktemp("d"), "--bridge=none")
    in_engine(DockerImages(engine(started.socket), "base"), base_image)
    yield started
    started.stop()
