"""The request that a runtime is sent while it still serves another one.

Where requests wait and each takes a millisecond, server and runtime would spend more on waking each other than on
the requests: so the next one is left in the runtime's socket. It has not begun before the runtime reads it, and until
then it can be taken back; the pool does that when another environment is free or the present request takes long.
"""

from __future__ import annotations

from collections.abc import Callable

from preheat.execution.channel import Ahead, Channel, Work
from preheat.execution.recorder import Serving

SHORT_MS = 5.0
"""Requests that take longer gain nothing: waking a process takes some 50 us."""


class Following:
    """At most one such request of one environment."""

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._take_back: Callable[[], Ahead] | None = None
        self._short = 0

    def __bool__(self) -> bool:
        return self._serving is not None

    @property
    def allowed(self) -> bool:
        return self._serving is None and self._short > 0

    def note(self, duration_ms: float) -> None:
        """A request has taken so long."""
        self._short = self._short + 1 if duration_ms <= SHORT_MS else min(self._short, 0)

    def send(self, channel: Channel, serving: Serving, work: Work) -> bool:
        """False where the transport cannot, or not now."""
        self._take_back = channel.send_ahead(work)
        if self._take_back is None:
            return False
        self._serving = serving
        return True

    def take_back(self) -> Ahead:
        """With TAKEN it is the caller's, who says so by `end`. The runtime may be on its way to it at this moment, so
        that it has to answer one more request before it is sent anything ahead again (`SocketClient._receive`)."""
        assert self._take_back is not None
        outcome = self._take_back()
        if outcome is Ahead.TAKEN:
            self._short = -1
        return outcome

    def end(self) -> Serving:
        """It has begun, or somebody else has it now."""
        serving, self._serving = self._serving, None
        assert serving is not None
        return serving
