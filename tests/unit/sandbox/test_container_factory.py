"""The container sandbox where nothing runs yet: what it needs, what it refuses, what an earlier server left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.kernel.image import ImageProgram
from preheat.sandbox import container
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.process import MARK
from preheat.sandbox.protocol import Launch

IMAGE = ImageProgram(layers=("/nowhere",), command=("/bin/true",))


def launch(image: ImageProgram | None, output_fd: int) -> Launch:
    return Launch("", "", "", 128, {}, output_fd, image=image)


@pytest.mark.parametrize(
    ("euid", "path", "why"), [(1000, None, "root"), (0, None, "runc is not installed"), (0, "/usr/sbin/runc", None)]
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, euid: int, path: str | None, why: str | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(container, "runc", lambda: path)
    monkeypatch.setattr(container, "_has_overlay", lambda: True)
    found = unusable()
    assert (found is None) if why is None else (found is not None and why in found)


def test_a_function_without_an_image_is_refused(tmp_path: Path) -> None:
    factory = ContainerFactory(tmp_path)
    sandbox = factory.create("e" * 32)
    with pytest.raises(OSError, match="from images only"):
        sandbox.launch(launch(None, 1), lambda code: None)
    sandbox.destroy()
    factory.close()
    assert sorted(tmp_path.iterdir()) == []


def test_methods_do_no_harm_after_destroy(tmp_path: Path) -> None:
    factory = ContainerFactory(tmp_path)
    sandbox = factory.create("e" * 32)
    sandbox.destroy()
    sandbox.kill()
    sandbox.freeze()
    sandbox.thaw()
    sandbox.limit_cpu(0.5)
    sandbox.destroy()
    assert (sandbox.peak_memory_mb(), sandbox.out_of_memory()) == (0, False)
    factory.close()


def test_what_a_dead_server_left_is_killed_and_removed(tmp_path: Path) -> None:
    root = tmp_path / "containers"
    (root / "old" / "tmp").mkdir(parents=True)
    left = subprocess.Popen(
        [sys.executable, "-S", "-c", "print(flush=True); import time; time.sleep(600)"],
        env={MARK: str(root)},
        stdout=subprocess.PIPE,
    )
    assert left.stdout is not None
    left.stdout.readline()  # it has started, its environment is its own
    assert ContainerFactory(root).reap() >= 1
    assert left.wait(10) == -9
    left.stdout.close()
    assert sorted(root.iterdir()) == []


@pytest.mark.skipif(unusable() is not None, reason="containers take root and runc")
def test_layers_that_cannot_be_mounted_end_the_launch(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, str]:
        factory = ContainerFactory(tmp_path)
        sandbox = factory.create("e" * 32)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reading, writing = os.pipe()
        try:
            sandbox.launch(launch(IMAGE, writing), ended.set_result)
            return await asyncio.wait_for(ended, 20), sandbox.refusal
        finally:
            os.close(reading)
            os.close(writing)
            sandbox.destroy()
            factory.close()

    code, refusal = asyncio.run(scenario())
    assert code == 127
    assert "No such file or directory" in refusal
