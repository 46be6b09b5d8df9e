"""What a person sees while a run goes on."""

from __future__ import annotations

import time
from typing import TextIO

from preheat.load.rows import Tally

INTERVAL_S = 5.0
"""Between two lines where output is not a terminal."""


def line(tally: Tally, elapsed_s: float, run_time_s: float) -> str:
    """One line on where the run stands."""
    left_s = run_time_s - elapsed_s
    ending = f"{left_s:.0f} s left" if left_s >= 1 else "finishing"
    return (
        f"{min(elapsed_s, run_time_s):3.0f} s  {len(tally.users)} users  {tally.requests} requests  "
        f"{tally.failures} failed  {ending}"
    )


class Progress:
    """A live line on a terminal, a new line every few seconds elsewhere, nothing without a stream."""

    def __init__(self, stream: TextIO | None, run_time_s: float) -> None:
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._run_time_s = run_time_s
        self._started = time.monotonic()
        self._next_s = INTERVAL_S

    def update(self, tally: Tally) -> None:
        elapsed_s = time.monotonic() - self._started
        if self._stream is None or (not self._live and elapsed_s < self._next_s):
            return
        self._next_s = elapsed_s + INTERVAL_S
        text = line(tally, elapsed_s, self._run_time_s)
        self._stream.write(f"\r{text:<78}" if self._live else f"{text}\n")
        self._stream.flush()

    def finish(self) -> None:
        if self._stream is not None and self._live:
            self._stream.write("\n")
            self._stream.flush()
