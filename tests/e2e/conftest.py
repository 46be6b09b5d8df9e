"""One server per test module, stopped and found to have left nothing behind; Lambda's base image, made once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_cloud import Cloud, preheat, remains


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud") / "data").start()
    yield made
    assert made.end() == 0
    assert remains(made.data_dir) == []


@pytest.fixture(scope="session")
def lend_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Gives a data directory what `preheat build` keeps of a base image that it has made: making one takes seconds, and
    every process of a test run would make its own."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    shared = session / "base"

    def lend(data_dir: Path) -> None:
        with (session / "base.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / "ready").exists():
                shared.mkdir(exist_ok=True)
                version = f"{sys.version_info.major}.{sys.version_info.minor}"
                (shared / "Dockerfile").write_text(f"FROM public.ecr.aws/lambda/python:{version}\n")
                built = preheat("build", str(shared), "-t", "base", "--data-dir", str(shared / "data"), timeout_s=280)
                assert built.returncode == 0, built.stderr
                (shared / "data/images/index.json").unlink()  # what is lent has no names
                (shared / "ready").touch()
        data_dir.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", str(shared / "data/images"), str(data_dir)], check=True)

    return lend
