"""The process that outlives the server; directories stand in for control groups."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from preheat.sandbox.guardian import Guardian


def group(parent: Path, name: str, *members: subprocess.Popen[bytes]) -> Path:
    path = parent / name
    path.mkdir(parents=True)
    (path / "cgroup.procs").write_text("".join(f"{member.pid}\n" for member in members))
    (path / "freezer.state").write_text("FROZEN\n")
    return path


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


def test_it_ends_the_groups_of_its_server_and_no_others(tmp_path: Path) -> None:
    ours, theirs = sleeping(), sleeping()
    try:
        own, other = group(tmp_path, "aa-1", ours), group(tmp_path, "bb-1", theirs)
        guardian = Guardian([tmp_path, tmp_path / "gone"], "aa")
        assert ours.poll() is None
        guardian.dismiss()
        assert ours.wait(60) == -signal.SIGKILL
        assert (own / "freezer.state").read_text() == "THAWED\n"
        assert theirs.poll() is None
        assert (other / "freezer.state").read_text() == "FROZEN\n"
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()


def test_it_acts_when_its_server_is_killed(tmp_path: Path) -> None:
    ours = sleeping()
    try:
        group(tmp_path, "aa-1", ours)
        server = (
            "import os, signal, sys\nfrom pathlib import Path\nfrom preheat.sandbox.guardian import Guardian\n"
            "Guardian([Path(sys.argv[1])], 'aa')\nos.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", server, str(tmp_path)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert ours.wait(60) == -signal.SIGKILL
    finally:
        ours.kill()
        ours.wait()
