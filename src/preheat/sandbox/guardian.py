"""A process that outlives the server, and then ends what the server has left in control groups.

Environments end by themselves when they lose the server, but for the frozen: those do nothing, and with version 1 of
control groups not even SIGKILL ends them before they are thawed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_CLOSING_S = 5.0
_SCRIPT = r"""
trap '' HUP INT TERM
read -r _
for parent; do
    for group in "$parent/$0"*/; do
        while read -r pid; do kill -9 "$pid"; done < "$group/cgroup.procs"
        [ -e "$group/freezer.state" ] && echo THAWED > "$group/freezer.state"
    done
done 2> /dev/null
"""
"""Of sh: a fraction of an interpreter's memory. `read` returns when the server's end of the pipe is closed."""


class Guardian:
    def __init__(self, parents: list[Path], prefix: str) -> None:
        """Guards the groups below `parents` whose names begin with `prefix`: this server's, and not those of the one
        that comes after it."""
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, prefix, *map(str, parents)],
            env={"PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """It ends what is left, too. Waits, bounded, until it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
