"""Requests and lines that the usual way back did not bring together: an answer that came late, from a busy client."""

from __future__ import annotations

from typing import Any

from preheat.analysis.alignment import MOST_ALONE, TOLERANCE_MS, Join

LATEST_MS = 5000.0
"""An answer is not logged later than this after its invocation ended: by then other reasons are likelier."""
SURE = 0.9
"""That the only line which fits into the only request without one is its own."""


def pair_leftovers(found: Join, end_ms: Any, response_ms: Any, log: Any) -> None:
    """Give each request without a line the one free line whose invocation lies wholly within its time, if there is just
    one such line, and no other such request for it. Changes `found`; arrays are in ms, `log` is a ServerLog."""
    import numpy as np

    alone = np.flatnonzero(found.report < 0)
    free = np.ones(len(log), dtype=bool)
    free[found.report[found.report >= 0]] = False
    lines = np.flatnonzero(free)
    if not len(alone) or not len(lines) or len(alone) * len(lines) > MOST_ALONE**2:
        return
    clock = found.clock
    slack = TOLERANCE_MS + 2 * clock.spread_ms
    ends = end_ms[alone] - clock.at(end_ms[alone])
    finished = log.at_ms[lines]
    begun = finished - log.duration_ms[lines]
    fits = (finished[None, :] <= ends[:, None] + slack) & (finished[None, :] >= ends[:, None] - LATEST_MS)
    sent = (ends - response_ms[alone])[:, None] - slack
    fits &= begun[None, :] >= sent
    # Started for an earlier request, an environment may be meant although its initialisation began too soon.
    single = (fits.sum(axis=1) == 1)[:, None] & (fits.sum(axis=0) == 1)[None, :] & fits
    single &= (begun - log.carried_ms[lines])[None, :] >= sent
    for request, line in np.argwhere(single).tolist():
        found.report[alone[request]] = lines[line]
        found.cold[alone[request]] = 0.5 + (float(log.cold[lines[line]]) - 0.5) * (2 * SURE - 1)
