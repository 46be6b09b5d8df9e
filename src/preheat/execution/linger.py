"""Busy polling, for a moment, where one request follows another: a core that sleeps takes longer to wake
than a small model takes to answer.

Only while a single request is in flight and a core has nothing else to do, so that nobody's work is delayed by
somebody's waiting. Where more requests wait, the runtime finds its next one without sleeping (`pool`).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOADAVG = Path("/proc/loadavg")
_GOOD_FOR_S = 0.02
_BAD_FOR_S = 0.001
"""A full machine is looked at again soon: what ran may have been the client, on its way to sleep."""
_CYCLE = 3
"""Within so many polling times after the last decision the runtime may still have been polling."""


class Linger:
    """`limit_us`: how long either side polls before it sleeps; 0 never."""

    def __init__(self, limit_us: int) -> None:
        self.limit_us = limit_us
        self._cores = os.cpu_count() or 1
        self._valid_until = 0.0
        self._last_at = 0.0
        self._spare_core = False

    def for_request(self, in_flight: int) -> int:
        """How long we poll for a request's answer, and the runtime after it for the next, in us."""
        if in_flight == 1 and self.limit_us and self._core_is_idle():
            return self.limit_us
        return 0

    def _core_is_idle(self) -> bool:
        """Whether server and runtime can have a core each: of what runs now one is us, and one the runtime
        if it is still polling after the last request."""
        now = time.monotonic()
        if now >= self._valid_until:
            polling = self._spare_core and now - self._last_at < self.limit_us * _CYCLE / 1e6
            self._spare_core = running_tasks() <= self._cores - (not polling)
            self._valid_until = now + (_GOOD_FOR_S if self._spare_core else _BAD_FOR_S)
        self._last_at = now
        return self._spare_core


def running_tasks() -> int:
    """Tasks running or ready to run on the machine, ourselves included; many where it cannot be known."""
    try:
        return int(_LOADAVG.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 1_000_000
