"""Every request taken apart: its label, how that is known, and its parts; and what they come to on average."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from preheat.analysis.anatomy import ORDER, anatomies, by_name
from preheat.analysis.labels import Label
from preheat.analysis.study import Study

TOLERANCE_MS = 0.5
"""Parts that exceed the response time by more than this contradict it: the two clocks, or a start counted in that
began before the request. Both sides are rounded to 0.01 ms at best, so that half a millisecond is none."""
MOST_ROWS = 200_000
"""Longer runs get no labels.csv: it would take longer to write than the rest of the report. Of their warm requests one
of so many is taken apart that about as many remain."""
_LABELS = (Label.COLD, Label.WARM, Label.WARM_WAITED)
_COLUMNS = ("index", "start_s", "response_ms", "status", "request_id", "label", "method", "probability", "environment")


def decomposition(study: Study) -> dict[str, Any] | None:
    """Mean ms of each part over the served requests of each label, `n` of them; None where no server tells anything.

    The parts add up to the response time but for `largest_error_ms`, by which those of some request exceed it;
    `inexact` counts the requests in which that is more than `tolerance_ms`. `one_of` is 1, or in long runs the n by
    which every n-th warm request was taken apart.
    """
    totals: dict[Label, Counter[str]] = {label: Counter() for label in _LABELS}
    counts: Counter[Label] = Counter()
    largest_ms, inexact = 0.0, 0
    served = study.served(*_LABELS)
    one_of = len(served) // MOST_ROWS + 1
    chosen = [item for place, item in enumerate(served) if place % one_of == 0 or item.label is Label.COLD]
    for item, parts in anatomies(study, chosen):
        counts[item.label] += 1
        total = totals[item.label]
        whole_ms = 0.0
        for part in parts:
            total[part.name] += part.length_ms  # type: ignore[assignment]
            whole_ms += part.length_ms
        error_ms = abs(whole_ms - item.request.response_ms)
        largest_ms = max(largest_ms, error_ms)
        inexact += error_ms > TOLERANCE_MS
    if not counts:
        return None
    found: dict[str, Any] = {}
    for label in _LABELS:
        mean = {name: round(totals[label][name] / counts[label], 3) for name in ORDER if totals[label][name]}
        found[str(label)] = {"n": counts[label], "mean_ms": mean}
    exactness = {"largest_error_ms": round(largest_ms, 3), "inexact": inexact, "tolerance_ms": TOLERANCE_MS}
    return {**found, **exactness, "one_of": one_of}


def write_labels(study: Study, path: Path) -> bool:
    """A CSV with a row for each request, in the order sent: what is known of it and the ms of its parts (empty where no
    server tells). `client_queue_ms` is the time by which it was sent too late, which is no part of the response time.
    False, and no file, where there are no single requests or more than `MOST_ROWS`."""
    if not 0 < len(study.labelled) <= MOST_ROWS:
        return False
    parts = {id(item): by_name(found) for item, found in anatomies(study, study.labelled)}
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_COLUMNS, "client_queue_ms", *(f"{name} (ms)" for name in ORDER)])
        for item in study.labelled:
            request, invocation = item.request, item.invocation
            due_s = request.intended_start_s
            queue_ms = "" if due_s is None else f"{max(request.start_s - due_s, 0.0) * 1000:.3f}"
            known = [request.index, f"{request.start_s:.6f}", f"{request.response_ms:.3f}", request.status]
            known += [request.request_id, str(item.label), str(item.method), f"{item.probability:.4f}"]
            lengths = parts.get(id(item), {})
            cells = [f"{lengths[name]:.3f}" if name in lengths else "" for name in ORDER]
            writer.writerow([*known, invocation.environment if invocation else "", queue_ms, *cells])
    draft.replace(path)
    return True
