"""A quarter of a minute of what `python -m bench.soak kills` does for half an hour: nothing lost, left or grown."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from e2e_cloud import ROOT, clean_environment


@pytest.mark.timeout(300)
def test_mixed_load_with_random_kills_stays_flat() -> None:
    command = [
        sys.executable,
        "-m",
        "bench.soak",
        "kills",
        "--minutes",
        "0.25",
        "--every-s",
        "3",
        "--kill-every-s",
        "0.5",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["lost"] == {}
    assert sum(found["answers"].values()) > 100
    before, after = found["idle_before"], found["idle_after"]
    assert after["processes"] <= before["processes"] + 1  # a template, and a spare of its
    assert after["environment_dirs"] <= before["environment_dirs"] + 1
    assert after["mounts"] == before["mounts"] == 0
    assert after["threads"] <= before["threads"] + 8  # the pool that unpacks and compiles
    assert after["rss_mb"] < before["rss_mb"] + 20
