"""Every request taken apart: its label, how that is known, and its parts; and what they come to on average."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.analysis.anatomy import ORDER, lengths
from preheat.analysis.labels import Label, LabelledRequest
from preheat.analysis.study import Study

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCE_MS = 0.5
"""Parts that exceed the response time by more than this contradict it: the two clocks, or a start counted in that
began before the request. Both sides are rounded to 0.01 ms at best, so that half a millisecond is none."""
_LABELS = (Label.COLD, Label.WARM, Label.WARM_WAITED)
_COLUMNS = ("index", "start_s", "response_ms", "status", "request_id", "label", "method", "probability", "environment")


_CHUNK = 50_000
"""Rows made into text at a time."""


def decomposition(study: Study) -> dict[str, Any] | None:
    """Mean ms of each part over the served requests of each label, `n` of them; None where no server tells anything.

    The parts add up to the response time but for `largest_error_ms`, by which those of some request exceed it;
    `inexact` counts the requests in which that is more than `tolerance_ms`.
    """
    import numpy as np

    items, lengths_ms = study.labelled, lengths(study)
    told = np.fromiter((i.served and (i.report >= 0 or i.invocation is not None) for i in items), bool, len(items))
    found: dict[str, Any] = {}
    number, largest_ms, inexact = 0, 0.0, 0
    for label in _LABELS:
        chosen = np.flatnonzero(told & study.is_label(label))
        parts_ms = lengths_ms[chosen]
        means = parts_ms.mean(axis=0).tolist() if len(chosen) else [0.0] * len(ORDER)
        mean = {name: round(ms, 3) for name, ms in zip(ORDER, means, strict=True) if ms}
        found[str(label)] = {"n": len(chosen), "mean_ms": mean}
        whole_ms = np.array([items[place].request.response_ms for place in chosen.tolist()])
        error_ms = np.abs(parts_ms.sum(axis=1) - whole_ms)
        largest_ms = max(largest_ms, float(error_ms.max(initial=0.0)))
        inexact += int((error_ms > TOLERANCE_MS).sum())
        number += len(chosen)
    if not number:
        return None
    return {**found, "largest_error_ms": round(largest_ms, 3), "inexact": inexact, "tolerance_ms": TOLERANCE_MS}


def write_labels(study: Study, path: Path) -> bool:
    """A CSV with a row for each request, in the order sent: what is known of it and the ms of its parts (empty where no
    server tells). `client_queue_ms` is the time by which it was sent too late, which is no part of the response time.
    False, and no file, where there are no single requests."""
    if not study.labelled:
        return False
    lengths_ms = lengths(study)
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_COLUMNS, "client_queue_ms", *(f"{name} (ms)" for name in ORDER)])
        for first in range(0, len(study.labelled), _CHUNK):
            known = map(_known, study.labelled[first : first + _CHUNK])
            columns = [_as_text(column) for column in lengths_ms[first : first + _CHUNK].T]
            writer.writerows([*cells, *parts] for cells, parts in zip(known, zip(*columns, strict=True), strict=True))
    draft.replace(path)
    return True


def _known(item: LabelledRequest) -> tuple[Any, ...]:
    """One row up to the parts."""
    request, invocation = item.request, item.invocation
    due_s = request.intended_start_s
    return (
        request.index,
        f"{request.start_s:.6f}",
        f"{request.response_ms:.3f}",
        request.status,
        request.request_id,
        item.label.value,
        item.method.value,
        f"{item.probability:.4f}",
        "" if invocation is None else invocation.environment,
        "" if due_s is None else f"{max(request.start_s - due_s, 0.0) * 1000:.3f}",
    )


def _as_text(column: Floats) -> list[str]:
    if not column.any():
        return [""] * len(column)
    return [f"{ms:.3f}" if ms else "" for ms in column.tolist()]
