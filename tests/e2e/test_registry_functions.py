"""From a Dockerfile to functions that serve, without Docker: build, push, create, invoke, delete, disk given back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import ROLE, Cloud, preheat

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
pytestmark = pytest.mark.timeout(300)
"""The first build makes the base image, which takes AWS's runtime client from the package index."""
HANDLER = "def lambda_handler(event, context):\n    return {said!r}\n"


@pytest.fixture(scope="module")
def images(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, lend_base: Callable[[Path], None]) -> dict[str, str]:
    """Two images of one base, pushed to repositories of their names; name -> digest."""
    root = tmp_path_factory.mktemp("images")
    lend_base(root / "data")
    pushed = {}
    for name in ("one", "two"):
        context = root / name
        context.mkdir()
        (context / "app.py").write_text(HANDLER.format(said=name))
        text = f'FROM public.ecr.aws/lambda/python:{PYTHON}\nCOPY app.py .\nCMD ["app.lambda_handler"]\n'
        (context / "Dockerfile").write_text(text)
        built = preheat("build", str(context), "-t", name, "--data-dir", str(root / "data"), timeout_s=280)
        assert built.returncode == 0, built.stderr
        options = ["--create", "--endpoint-url", cloud.url, "--data-dir", str(root / "data")]
        done = preheat("push", name, *options)
        assert done.returncode == 0, done.stderr
        pushed[name] = done.stdout.strip().partition("@")[2]
    return pushed


def create(cloud: Cloud, function: str, image: str) -> dict[str, Any]:
    client = cloud.client("lambda")
    uri = f"{cloud.url.partition('://')[2]}/{image}"
    client.create_function(FunctionName=function, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, Timeout=20)
    client.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    return dict(client.get_function(FunctionName=function))


def invoke(cloud: Cloud, function: str) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


def stored(cloud: Cloud, folder: str) -> list[Path]:
    return sorted((cloud.data_dir / folder).iterdir())


def test_image_functions_share_layers_outlive_their_images_and_give_the_disk_back(
    cloud: Cloud, images: dict[str, str]
) -> None:
    for number in range(4):
        image = ("one", "two")[number % 2]
        code = create(cloud, f"f{number}", f"{image}:latest")["Code"]
        assert code["ResolvedImageUri"].endswith(f"/{image}@{images[image]}")
        assert invoke(cloud, f"f{number}") == image
    assert len(stored(cloud, "layers")) == 4  # two of the base, one of each image
    assert len(stored(cloud, "blobs/sha256")) == 6  # those and two configurations
    for image in images:
        cloud.client("ecr").delete_repository(repositoryName=image, force=True)
    assert len(stored(cloud, "blobs/sha256")) == 6
    cloud.end()
    cloud.start()
    assert [invoke(cloud, f"f{number}") for number in range(4)] == ["one", "two", "one", "two"]
    for number in range(4):
        cloud.client("lambda").delete_function(FunctionName=f"f{number}")
    assert stored(cloud, "blobs/sha256") == []
    cloud.end()
    cloud.start()
    assert stored(cloud, "layers") == []
