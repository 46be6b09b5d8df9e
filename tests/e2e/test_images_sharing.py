"""Ten functions from images of one base: what they share is stored once, what they leave is given back, and nothing
stays mounted however the server ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import ROLE, Cloud, eventually, preheat, remains

from preheat.sandbox.container import unusable

pytestmark = [
    pytest.mark.skipif(unusable() is not None, reason="containers take root and runc (preheat doctor)"),
    pytest.mark.timeout(300),
]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
COUNT = 10
OWN_BYTES = 300_000
NAMES = [f"f{number}" for number in range(COUNT)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, lend_base: Callable[[Path], None]) -> Path:
    """A data directory in which ten images of one base have been built."""
    root = tmp_path_factory.mktemp("ten")
    lend_base(root / "data")
    for name in NAMES:
        (root / "app.py").write_text(f"def handler(event, context):\n    return {name!r}\n")
        (root / "weights").write_bytes(os.urandom(OWN_BYTES))
        (root / "Dockerfile").write_text(
            f'FROM public.ecr.aws/lambda/python:{PYTHON}\nCOPY app.py weights ./\nCMD ["app.handler"]\n'
        )
        done = preheat("build", str(root), "-t", name, "--data-dir", str(root / "data"), "--quiet", timeout_s=200)
        assert done.returncode == 0, done.stderr
    return root / "data"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data").start()
    yield made
    made.end()
    assert remains(made.data_dir) == []


def create(cloud: Cloud, name: str) -> None:
    client = cloud.client("lambda")
    uri = f"{cloud.url.partition('://')[2]}/{name}:latest"
    client.create_function(FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, Timeout=30)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def invoke(cloud: Cloud, name: str) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


def all_answer(cloud: Cloud) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: invoke(cloud, name), NAMES)) == NAMES


def stored(cloud: Cloud, folder: str) -> list[Path]:
    return list((cloud.data_dir / folder).iterdir())


def used_bytes(directory: Path) -> int:
    """As `du` counts: what the files take, one with several names once."""
    seen = {
        (status.st_dev, status.st_ino): status.st_blocks for path in directory.rglob("*") for status in [path.lstat()]
    }
    return sum(seen.values()) * 512


def mounted(cloud: Cloud) -> list[str]:
    """Mounts of the data directory that any process of this machine sees outside a container's own root."""
    found = set()
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            lines = table.read_text().splitlines()
        except OSError:
            continue  # it has just ended
        found |= {line for line in lines if str(cloud.data_dir) in line.split(" - ")[0]}
    return sorted(found)


def machine_mounts(cloud: Cloud) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(cloud.data_dir) in line]


def test_ten_functions_share_what_is_the_same_and_give_everything_back(cloud: Cloud, built: Path) -> None:
    for name in NAMES:
        options = ["--create", "--endpoint-url", cloud.url, "--data-dir", str(built), "--quiet"]
        assert preheat("push", name, *options).returncode == 0
    create(cloud, NAMES[0])
    one_bytes = used_bytes(cloud.data_dir / "layers")
    for name in NAMES[1:]:
        create(cloud, name)
    all_answer(cloud)
    # stored once: two layers of the base and one of each image; of each image a configuration, too
    assert len(stored(cloud, "layers")) == 2 + COUNT
    assert len(stored(cloud, "blobs/sha256")) == 2 + 2 * COUNT
    assert used_bytes(cloud.data_dir / "layers") - one_bytes < (COUNT - 1) * OWN_BYTES * 1.2
    assert machine_mounts(cloud) == []

    # however it ends, nothing stays mounted, and the next one serves
    assert cloud.end(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: mounted(cloud) == [])
    cloud.start()
    all_answer(cloud)
    assert machine_mounts(cloud) == []
    assert preheat("down", "--data-dir", str(cloud.data_dir)).returncode == 0
    assert cloud.wait() == 0
    eventually(lambda: mounted(cloud) == [])
    assert remains(cloud.data_dir) == []
    cloud.start()

    # deleting frees: the images' own layers with the last that needs them, the base's with the last of all
    for name in NAMES[:5]:
        cloud.client("lambda").delete_function(FunctionName=name)
        cloud.client("ecr").delete_repository(repositoryName=name, force=True)
    assert len(stored(cloud, "blobs/sha256")) == 2 + 2 * 5
    eventually(lambda: len(stored(cloud, "layers")) == 2 + 5)
    assert [invoke(cloud, name) for name in NAMES[5:]] == NAMES[5:]
    for name in NAMES[5:]:
        cloud.client("ecr").delete_repository(repositoryName=name, force=True)
    assert [invoke(cloud, name) for name in NAMES[5:]] == NAMES[5:]  # what a function needs stays
    for name in NAMES[5:]:
        cloud.client("lambda").delete_function(FunctionName=name)
    assert stored(cloud, "blobs/sha256") == []
    eventually(lambda: stored(cloud, "layers") == [])
    assert used_bytes(cloud.data_dir / "layers") + used_bytes(cloud.data_dir / "blobs") < 100_000
