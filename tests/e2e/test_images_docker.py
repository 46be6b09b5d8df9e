"""Functions from images in Docker's engine, a real one: shared layers, restarts, and what stays behind."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cloud import ROLE, Cloud, eventually, preheat, remains
from registry_tools import Docker

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
pytestmark = [
    pytest.mark.skipif(not Docker.can_start(), reason="a Docker engine takes root and Debian's docker.io"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    engine = Docker(tmp_path_factory.mktemp("d"), "--bridge=none")
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with two images built in it, of one base."""
    data = tmp_path_factory.mktemp("images") / "data"
    for name in ("one", "two"):
        root = data.parent / name
        root.mkdir()
        (root / "app.py").write_text(f"def handler(event, context):\n    return ['{name}', event]\n")
        text = f'FROM public.ecr.aws/lambda/python:{PYTHON}\nCOPY app.py .\nCMD ["app.handler"]\n'
        (root / "Dockerfile").write_text(text)
        built = preheat("build", str(root), "-t", name, "--data-dir", str(data), timeout_s=115)
        assert built.returncode == 0, built.stderr
    return data


@pytest.fixture
def cloud(tmp_path: Path, docker: Docker, layout: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data", "--image-sandbox", "docker", "--docker-host", docker.socket).start()
    yield made
    made.end()
    assert remains(made.data_dir) == []
    assert docker("ps", "--all", "--quiet").stdout == ""


def create(cloud: Cloud, layout: Path, name: str) -> None:
    pushed = preheat("push", name, "--create", "--endpoint-url", cloud.url, "--data-dir", str(layout))
    assert pushed.returncode == 0, pushed.stderr
    uri = f"ImageUri={cloud.url.partition('://')[2]}/{name}:latest"
    facts = ["--role", ROLE, "--timeout", "20", "--package-type", "Image", "--code", uri]
    cloud.aws("lambda", "create-function", "--function-name", name, *facts)
    cloud.aws("lambda", "wait", "function-active-v2", "--function-name", name)


def invoke(cloud: Cloud, name: str, tmp_path: Path) -> object:
    told = cloud.aws("lambda", "invoke", "--function-name", name, "--payload", "7", str(tmp_path / "answer"))
    assert "FunctionError" not in told, (tmp_path / "answer").read_text()
    return json.loads((tmp_path / "answer").read_text())


def images(docker: Docker) -> list[str]:
    return docker("images", "--quiet").stdout.split()


def test_two_functions_share_layers_and_leave_with_their_images(
    cloud: Cloud, docker: Docker, layout: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        create(cloud, layout, name)
        assert invoke(cloud, name, tmp_path) == [name, 7]
    (started, _) = cloud.records("environment_started")
    assert started["sandbox"] == "docker"
    stacks = [json.loads(docker("inspect", image).stdout)[0]["RootFS"]["Layers"] for image in images(docker)]
    assert len(stacks) == 2
    assert stacks[0][:2] == stacks[1][:2]
    assert stacks[0] != stacks[1]
    for name in ("one", "two"):
        cloud.aws("lambda", "delete-function", "--function-name", name)
    eventually(lambda: images(docker) == [], 30)


def test_a_killed_server_leaves_nothing_that_its_next_start_does_not_find(
    cloud: Cloud, docker: Docker, layout: Path, tmp_path: Path
) -> None:
    create(cloud, layout, "one")
    assert invoke(cloud, "one", tmp_path) == ["one", 7]
    eventually(lambda: docker("ps", "--quiet", "--filter", "status=paused").stdout != "", 30)
    cloud.end(signal.SIGKILL)
    cloud.start()
    assert docker("ps", "--all", "--quiet").stdout == ""
    assert invoke(cloud, "one", tmp_path) == ["one", 7]
    cloud.end()
    network = docker("network", "ls", "--quiet", "--filter", "label=preheat.data").stdout
    assert (docker("ps", "--all", "--quiet").stdout, network) == ("", "")
    cloud.start()
    cloud.aws("lambda", "delete-function", "--function-name", "one")
    eventually(lambda: images(docker) == [], 30)


def test_a_server_that_uses_no_docker_removes_what_an_earlier_one_has_left_in_it(
    cloud: Cloud, docker: Docker, layout: Path, tmp_path: Path
) -> None:
    create(cloud, layout, "one")
    assert invoke(cloud, "one", tmp_path) == ["one", 7]
    eventually(lambda: docker("ps", "--quiet", "--filter", "status=paused").stdout != "", 30)
    cloud.end(signal.SIGKILL)
    assert docker("ps", "--all", "--quiet").stdout != ""
    Cloud(cloud.data_dir, "--image-sandbox", "process").start().end()
    network = docker("network", "ls", "--quiet", "--filter", "label=preheat.data").stdout
    assert (docker("ps", "--all", "--quiet").stdout, network, images(docker)) == ("", "", [])
    assert not (cloud.data_dir / "docker").exists()


def test_without_an_engine_functions_from_images_are_refused_by_name(tmp_path: Path, layout: Path) -> None:
    made = Cloud(tmp_path / "data", "--image-sandbox", "docker", "--docker-host", f"unix://{tmp_path}/nothing").start()
    try:
        facts = ["--role", ROLE, "--package-type", "Image", "--code", "ImageUri=127.0.0.1:4566/one:latest"]
        refused = made.aws_raw("lambda", "create-function", "--function-name", "one", *facts)
    finally:
        made.end()
    assert refused.returncode != 0
    assert "no Docker engine answers: No such file or directory" in refused.stderr
