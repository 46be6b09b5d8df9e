"""Requests and lines that the usual way back did not bring together: an answer that came late, from a busy client."""

from __future__ import annotations

from typing import Any

from preheat.analysis.alignment import CERTAIN, MOST_ALONE, NOT_THERE, REST_WIDTH, TOLERANCE_MS, Join

LATEST_MS = 5000.0
"""An answer is not logged later than this after its invocation ended: by then other reasons are likelier."""
SURE = 0.9
"""That the only line which fits into the only request without one is its own."""


def pair_leftovers(found: Join, end_ms: Any, response_ms: Any, log: Any) -> None:
    """Give each request without a line the one free line whose invocation lies wholly within its time, if there is just
    one such line, and no other such request for it; so many requests as there are such lines for them, all warm, get
    those in turn. Changes `found`; arrays are in ms, `log` is a ServerLog."""
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
        free[lines[line]] = False
    still = found.report[alone] < 0
    fits &= still[:, None] & free[lines][None, :]
    for request in np.argsort(ends).tolist():
        places = np.flatnonzero(fits[request])
        rivals = np.flatnonzero(fits[:, places].any(axis=1))
        if len(places) < 2 or len(places) != len(rivals) or log.is_cold[lines[places]].any():
            continue
        for rival, place in zip(rivals[np.argsort(ends[rivals])].tolist(), places.tolist(), strict=True):
            found.report[alone[rival]], found.cold[alone[rival]] = lines[place], 1 - SURE
        fits[rivals], fits[:, places] = False, False


def doubt_by_cold_lines(found: Join, end_ms: Any, response_ms: Any, log: Any) -> None:
    """Weigh who met each cold line that is still free. Changes `found`; arrays are in ms, `log` is a ServerLog.

    A busy client notes answers so late that a cold request lies beside another's warm line. It still has the time of a
    cold start in its response, which that line leaves unexplained. The line is given to a request that is the likeliest
    by far; else all that could have met it carry the doubt, its probability shared out by how well it explains them.
    """
    import numpy as np

    clock = found.clock
    free = log.is_cold.copy()
    free[found.report[found.report >= 0]] = False
    ends = end_ms - clock.at(end_ms)
    slack_ms = TOLERANCE_MS + 2 * clock.spread_ms
    inside = (log.at_ms >= float((ends - response_ms).min()) - slack_ms) & (log.at_ms <= float(ends.max()) + slack_ms)
    by_end = np.argsort(ends)
    plain = np.where(found.report >= 0, response_ms - (log.duration_ms + log.carried_ms)[found.report], np.nan)
    if np.isnan(plain).all():
        return
    usual = float(np.nanmedian(np.log(np.maximum(plain, 0.5))))
    for line in np.flatnonzero(free & inside).tolist():
        at_ms, duration_ms = float(log.at_ms[line]), float(log.duration_ms[line])
        low, high = np.searchsorted(ends[by_end], [at_ms - slack_ms, at_ms + LATEST_MS])
        near = by_end[low:high]
        rest_ms = response_ms[near] - duration_ms - float(log.carried_ms[line])
        whole = ends[near] - response_ms[near] <= at_ms - duration_ms + slack_ms
        is_own = (found.report[near] >= 0) & log.is_cold[found.report[near]]
        fits = whole & (rest_ms >= -TOLERANCE_MS) & ~is_own
        near, rest_ms = near[fits], rest_ms[fits]
        if not len(near):
            continue
        now = np.where(found.report[near] >= 0, _misfit(plain[near], usual), NOT_THERE)
        weight = np.exp(now - _misfit(rest_ms, usual))
        share = weight / (weight.sum() + 1)  # one part for a caller of whom nothing is recorded
        best = int(np.argmax(share))
        if share[best] >= CERTAIN:
            found.report[near[best]] = line
            found.cold[near[best]] = share[best]
            plain[near[best]] = rest_ms[best]
            share[best] = 0.0
        found.cold[near] = 1 - (1 - found.cold[near]) * (1 - share)


def _misfit(rest_ms: Any, usual: float) -> Any:
    """How unlikely a time outside the function is, as `alignment` weighs it (minus logarithm of a likelihood)."""
    import numpy as np

    rest = np.log(np.maximum(rest_ms, 0.5))
    return 2.5 * np.log1p(((rest - usual) / REST_WIDTH) ** 2 / 4)
