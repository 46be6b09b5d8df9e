"""How soon `preheat up` answers, and what it weighs while it waits."""

from __future__ import annotations

import time
from pathlib import Path

from bench.cloud import up
from bench.processes import resident_mb
from bench.result import Result, absolute
from bench.size import Size

IDLE_S = 1.0
"""Long enough for what is put off until after the start."""


def ready_and_idle(folder: Path, size: Size) -> list[Result]:
    """Each start has a new data directory; the first one, which fills the page cache, is not counted."""
    ready_s: list[float] = []
    idle_mb: list[float] = []
    for number in range(size.starts + 1):
        with up(folder / f"start-{number}", folder / "start.log") as cloud:
            time.sleep(IDLE_S)
            ready_s.append(cloud.ready_s)
            idle_mb.append(resident_mb(cloud.pid))
    return [
        absolute("up_ready_s", "Preheat", ready_s[1:], "s"),
        absolute("up_idle_mb", "Preheat", idle_mb[1:], "MB"),
    ]
