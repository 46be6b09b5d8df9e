"""`summary.json`: the run in figures, schema 1. Times are milliseconds unless the name says otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from preheat.analysis.labels import WAITED_MS, Accounting, Label
from preheat.analysis.quantiles import QUANTILE_METHOD, spread
from preheat.analysis.study import WARM_LABELS, Study
from preheat.analysis.words import FEW, count

SCHEMA = 1
MOST_UNMATCHED_ROWS = 1000

Warning_ = dict[str, str]


def summarise(study: Study, files: Mapping[str, str]) -> dict[str, Any]:
    """The summary as JSON-ready values.

    `cold + warm + throttled + failed_before_function + failed_in_function + unmatched + unknown == requests`;
    `warm` includes `warm_waited`. `warm_ms` is over the warm requests that did not wait, `waited_ms` over those
    that did; `cold_ms`, `warm_ms` and `waited_ms` are the client's response times. `cold_ready` are the cold
    requests that found their environment started already, for an earlier request that another one then took;
    `cold_waited_ms` is over the cold requests that waited for the start.
    """
    counts = Counter(item.label for item in study.labelled)
    failed = Counter(str(item.request.status) for item in study.labelled if not item.request.ok)
    requests = len(study.labelled)
    return {
        "schema": SCHEMA,
        "function": study.folder.info.get("function"),
        "target": study.folder.info.get("target"),
        "requests": requests,
        "ok": requests - failed.total(),
        "failed": dict(sorted(failed.items())),
        "cold": counts[Label.COLD],
        "cold_ready": sum(not item.waited for item in study.served(Label.COLD)),
        "warm": sum(counts[label] for label in WARM_LABELS),
        "warm_waited": counts[Label.WARM_WAITED],
        "throttled": counts[Label.THROTTLED],
        "failed_before_function": counts[Label.FAILED_BEFORE_FUNCTION],
        "failed_in_function": counts[Label.FAILED_IN_FUNCTION],
        "unknown": counts[Label.UNKNOWN],
        "unmatched": counts[Label.UNMATCHED],
        "unmatched_rows": _unmatched_rows(study),
        "label_method": study.label_method,
        "label_confidence": 1.0 if study.label_method == "request-id" else 0.0,
        **_accounting(study.accounting),
        **_client_times(study),
        "server": _server_times(study),
        "slowest_1_percent": _slowest(study),
        "last_cold_s": _last_cold_s(study),
        "span_s": round(study.span_s, 3),
        "throughput_per_s": round(requests / study.span_s, 3) if study.span_s > 0 else None,
        "quantile_method": QUANTILE_METHOD,
        "waited_threshold_ms": WAITED_MS,
        "warnings": find_warnings(study),
        "files": dict(files),
    }


def _unmatched_rows(study: Study) -> list[dict[str, Any]]:
    """The first thousand; `unmatched` counts them all."""
    return [
        {"index": r.index, "start_s": r.start_s, "status": r.status, "request_id": r.request_id, "error": r.error}
        for r in (item.request for item in study.select(Label.UNMATCHED)[:MOST_UNMATCHED_ROWS])
    ]


def _accounting(accounting: Accounting | None) -> dict[str, Any]:
    if accounting is None:
        names = ("environments_started", "environments_never_served", "cold_from_others", "accounting_ok")
        return dict.fromkeys(names)
    return {
        "environments_started": accounting.started,
        "environments_never_served": accounting.never_served,
        "cold_from_others": accounting.cold_from_others,
        "accounting_ok": accounting.ok,
    }


def _client_times(study: Study) -> dict[str, Any]:
    setups = [item.request.setup_ms for item in study.labelled]
    return {
        "cold_ms": spread(study.times_ms(Label.COLD)),
        "cold_waited_ms": spread(i.request.response_ms for i in study.served(Label.COLD) if i.waited),
        "warm_ms": spread(study.times_ms(Label.WARM)),
        "waited_ms": spread(study.times_ms(Label.WARM_WAITED)),
        "all_ms": spread(item.request.response_ms for item in study.labelled if item.request.status),
        "connection_setup_ms": spread(ms for ms in setups if ms is not None),
    }


def _server_times(study: Study) -> dict[str, Any]:
    """What the function's host measured of the requests above, from the journal."""
    cold = [item.invocation for item in study.served(Label.COLD) if item.invocation]
    warm = [item.invocation for item in study.served(*WARM_LABELS) if item.invocation]
    inits = [study.inits[record.environment] for record in cold if record.environment in study.inits]
    return {
        "init_ms": spread(record.init_ms for record in cold if record.init_ms is not None),
        "spawn_ms": spread(init.spawn_ms for init in inits if init.spawn_ms is not None),
        "runtime_ms": spread(init.runtime_ms for init in inits if init.runtime_ms is not None),
        "handler_import_ms": spread(init.handler_ms for init in inits if init.handler_ms is not None),
        "cold_duration_ms": spread(record.duration_ms for record in cold),
        "warm_duration_ms": spread(record.duration_ms for record in warm),
        "wait_ms": spread(record.wait_ms for record in warm if record.wait_ms > WAITED_MS),
        "max_memory_mb": max((r.max_memory_mb for r in (*cold, *warm) if r.max_memory_mb is not None), default=None),
    }


def _slowest(study: Study) -> dict[str, int]:
    """Who makes the tail: the labels of the slowest 1% of the answered requests."""
    slowest = study.slowest(0.01)
    return {"n": len(slowest), **Counter(str(item.label) for item in slowest)}


def _last_cold_s(study: Study) -> float | None:
    """Seconds after the first request until the last cold one was answered: how long the cold phase lasted."""
    ends = [item.request.end_s for item in study.select(Label.COLD)]
    return round(max(ends) - study.start_s, 3) if ends else None


def find_warnings(study: Study) -> list[Warning_]:
    """What a reader must know before trusting the figures; codes are stable, sentences are for people."""
    return [{"code": code, "message": message} for code, message in (*_input_warnings(study), *_label_warnings(study))]


def _input_warnings(study: Study) -> list[tuple[str, str]]:
    folder, found = study.folder, []
    if folder.table.torn:
        found.append(("torn-row", "The last row of requests.csv is cut off: the run was stopped while writing it."))
    if folder.table.bad_rows:
        lines = ", ".join(map(str, folder.table.bad_rows[:5]))
        found.append(("bad-rows", f"{len(folder.table.bad_rows)} rows of requests.csv cannot be read (lines {lines})."))
    if folder.journal is None:
        found.append(("journal-missing", "There is no journal.jsonl: nobody can say which requests were cold."))
    elif folder.journal.bad_lines:
        found.append(("journal-bad-lines", f"{folder.journal.bad_lines} lines of journal.jsonl cannot be read."))
    if not folder.info:
        found.append(("run-info-missing", "There is no run.json: how the run was made is not known."))
    if not study.labelled:
        found.append(("no-requests", "The run has no requests."))
    return found


def _label_warnings(study: Study) -> list[tuple[str, str]]:
    counts = Counter(item.label for item in study.labelled)
    found = []
    failed = sum(not item.request.ok for item in study.labelled)
    if failed:
        found.append(("failed-requests", f"{failed:,} of {len(study.labelled):,} requests failed."))
    if counts[Label.UNMATCHED]:
        found.append(("unmatched", f"{count(counts[Label.UNMATCHED], 'request')} without a record in the journal."))
    accounting = study.accounting
    if accounting is None or not study.labelled:
        return found
    if not accounting.ok:
        left = (
            f"{accounting.cold} cold + {accounting.never_served} never used + {accounting.cold_from_others} of others"
        )
        found.append(("accounting", f"{accounting.started} environments started, but {left}: the journal has gaps."))
    reached = sum(item.invocation is not None for item in study.labelled)
    if counts[Label.UNMATCHED] and not counts[Label.COLD]:
        found.append(("cold-unknown", "No request is known to have been cold, but not every request is known."))
    elif not reached:
        found.append(("none-reached-function", "No request reached the function, so none can have been cold."))
    elif not counts[Label.COLD]:
        found.append(("no-cold", "No request was cold: every environment had served before the run."))
    elif counts[Label.COLD] < FEW:
        found.append(
            ("few-cold", f"Only {count(counts[Label.COLD], 'cold start')}: p95 and p99 are about the maximum.")
        )
    cold_failed = counts[Label.COLD] - len(study.served(Label.COLD))
    if cold_failed:
        found.append(("cold-failed", f"{cold_failed} cold requests failed in the function; cold_ms leaves them out."))
    return found
