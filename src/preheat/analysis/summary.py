"""`summary.json`: the run in figures, schema 1. Times are milliseconds unless the name says otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from preheat.analysis import statistics
from preheat.analysis.costs import costs
from preheat.analysis.decomposition import decomposition
from preheat.analysis.labels import WAITED_MS, Accounting, Label
from preheat.analysis.quantiles import QUANTILE_METHOD, spread
from preheat.analysis.server_log import OK
from preheat.analysis.study import WARM_LABELS, Study
from preheat.analysis.warnings import find_warnings

SCHEMA = 1
MOST_UNMATCHED_ROWS = 1000


def summarise(study: Study, files: Mapping[str, str]) -> dict[str, Any]:
    """The summary as JSON-ready values.

    `cold + warm + throttled + failed_before_function + failed_in_function + unmatched + unknown == requests`;
    `warm` includes `warm_waited`. `warm_ms` is over the warm requests that did not wait, `waited_ms` over those
    that did; `cold_ms`, `warm_ms` and `waited_ms` are the client's response times, or, where `times` is "server", the
    function's initialisation and handler. `cold_ready` are the cold requests that found their environment started
    already, for an earlier request that another one then took; `cold_waited_ms` is over the cold requests that waited
    for the start. Where there are only Locust's aggregates, all requests are `unknown` and `all_ms` is Locust's.
    """
    counts = study.counts
    requests, failed = _requests(study)
    unknown = counts[Label.UNKNOWN] + (requests - counts.total())
    return {
        "schema": SCHEMA,
        "function": study.folder.info.get("function"),
        "target": study.folder.info.get("target"),
        "sources": study.folder.sources,
        "times": "client" if study.log_only is None else "server",
        "requests": requests,
        "ok": requests - sum(failed.values()),
        "failed": failed,
        "cold": counts[Label.COLD],
        "cold_ready": sum(not item.waited for item in study.served(Label.COLD)),
        "warm": sum(counts[label] for label in WARM_LABELS),
        "warm_waited": counts[Label.WARM_WAITED],
        "throttled": counts[Label.THROTTLED],
        "failed_before_function": counts[Label.FAILED_BEFORE_FUNCTION],
        "failed_in_function": counts[Label.FAILED_IN_FUNCTION],
        "unknown": unknown,
        "unmatched": counts[Label.UNMATCHED],
        "unmatched_rows": _unmatched_rows(study),
        "label_method": study.label_method,
        "label_confidence": study.confidence,
        **_accounting(study.accounting),
        **_client_times(study),
        "connection_setup_method": study.setup.method,
        "explained_by_setup": study.model.explained_by_setup if study.model else 0,
        "populations": study.model.populations if study.model else None,
        "server": _server_times(study),
        "decomposition": decomposition(study),
        "log": _log(study),
        "slowest_1_percent": _slowest(study),
        "tail_cold_share": statistics.tail(study),
        "corrected_ms": statistics.corrected(study),
        "guess_audit": statistics.audit(study),
        "cold_over_time": statistics.rate_over_time(study),
        "last_cold_s": _last_cold_s(study),
        "span_s": round(study.span_s, 3),
        "throughput_per_s": round(requests / study.span_s, 3) if study.span_s > 0 else None,
        "quantile_method": QUANTILE_METHOD,
        "waited_threshold_ms": WAITED_MS,
        "costs": costs(study),
        "warnings": find_warnings(study),
        "files": dict(files),
    }


def _requests(study: Study) -> tuple[int, dict[str, int]]:
    """(requests, failed by status): of the client's records, else of the log, else of Locust's aggregates."""
    if study.labelled:
        failed = Counter(str(item.request.status) for item in study.labelled if not item.request.ok)
        return len(study.labelled), dict(sorted(failed.items()))
    if (log := study.log_only) is not None:
        names = {1: "error", 2: "timeout"}
        found = {name: int((log.status == code).sum()) for code, name in names.items()}
        return len(log), {name: number for name, number in found.items() if number}
    tables = study.folder.tables
    failures = tables.failures or 0
    known = tables.failed if sum(tables.failed.values()) == failures else {}
    return tables.requests or 0, known or ({"unknown": failures} if failures else {})


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
    cold, warm = study.times_ms(Label.COLD), study.times_ms(Label.WARM)
    return {
        "cold_ms": spread(cold),
        "cold_ms_interval": statistics.intervals(cold),
        "cold_waited_ms": spread(i.request.response_ms for i in study.served(Label.COLD) if i.waited)
        if study.log_only is None
        else spread(cold),
        "warm_ms": spread(warm),
        "warm_ms_interval": statistics.intervals(warm),
        "waited_ms": spread(study.times_ms(Label.WARM_WAITED)) if study.log_only is None else spread([]),
        "all_ms": _all_times(study),
        "connection_setup_ms": spread(study.setup.times_ms),
    }


def _all_times(study: Study) -> dict[str, Any]:
    tables = study.folder.tables
    if study.labelled or study.log_only is not None or tables.requests is None:
        return dict(spread(study.answered[1]))
    named = {"p50": "50%", "p95": "95%", "p99": "99%"}
    rounded = {name: tables.percentiles_ms.get(key) for name, key in named.items()}
    return {"n": tables.requests, "mean": tables.mean_ms, "min": tables.min_ms, "max": tables.max_ms, **rounded}


def _server_times(study: Study) -> dict[str, Any]:
    """What the function's host measured of the requests above, from the journal or the log."""
    if study.log is not None and study.accounting is None:
        return _log_times(study)
    cold = [item.invocation for item in study.served(Label.COLD) if item.invocation]
    warm = [item.invocation for item in study.served(*WARM_LABELS) if item.invocation]
    inits = [study.inits[record.environment] for record in cold if record.environment in study.inits]
    return {
        "init_ms": spread(record.init_ms for record in cold if record.init_ms is not None),
        "restore_ms": spread(record.restore_ms for record in cold if record.restore_ms is not None),
        "spawn_ms": spread(init.spawn_ms for init in inits if init.spawn_ms is not None),
        "runtime_ms": spread(init.runtime_ms for init in inits if init.runtime_ms is not None),
        "handler_import_ms": spread(init.handler_ms for init in inits if init.handler_ms is not None),
        "cold_duration_ms": spread(record.duration_ms for record in cold),
        "warm_duration_ms": spread(record.duration_ms for record in warm),
        "wait_ms": spread(record.wait_ms for record in warm if record.wait_ms > WAITED_MS),
        "max_memory_mb": max((r.max_memory_mb for r in (*cold, *warm) if r.max_memory_mb is not None), default=None),
    }


def _log_times(study: Study) -> dict[str, Any]:
    """The same from REPORT lines: those that were joined to requests, or all where there are no requests."""
    import numpy as np

    log = study.log
    assert log is not None
    chosen = np.ones(len(log), dtype=bool)
    if study.labelled:
        chosen[:] = False
        chosen[[item.report for item in study.labelled if item.report >= 0]] = True
    good = chosen & (log.status == OK)
    cold, warm = good & log.is_cold, good & ~log.is_cold
    init, restore, memory = log.init_ms[cold], log.restore_ms[cold], log.max_memory_mb[good]
    return {
        "init_ms": spread(init[~np.isnan(init)]),
        "restore_ms": spread(restore[~np.isnan(restore)]),
        "spawn_ms": spread([]),
        "runtime_ms": spread([]),
        "handler_import_ms": spread([]),
        "cold_duration_ms": spread(log.duration_ms[cold]),
        "warm_duration_ms": spread(log.duration_ms[warm]),
        "wait_ms": spread([]),
        "max_memory_mb": float(np.nanmax(memory)) if len(memory) and not np.isnan(memory).all() else None,
    }


def _log(study: Study) -> dict[str, Any] | None:
    """What the function's log holds and what was done with its lines."""
    import numpy as np

    log = study.log
    if log is None:
        return None
    hidden = ~np.isnan(log.hidden_ms) | ((log.cold > 0.5) & (log.cold < 1))
    found: dict[str, Any] = {
        "reports": len(log),
        "cold": int(log.is_cold.sum()),
        "hidden_inits": int(hidden.sum()),
        "init_reports": log.init_reports,
        "timeouts": int((log.status == 2).sum()),
        "errors": int((log.status == 1).sum()),
        "bad_rows": log.bad_rows,
        "matched": None,
        "left_over": None,
        "cold_left_over": None,
        "cold_in_run": None,
        "outside": None,
        "clock": None,
    }
    if (use := study.use) is not None:
        found |= {
            "matched": use.matched,
            "left_over": use.left_over,
            "cold_left_over": use.cold_left_over,
            "cold_in_run": use.cold_matched + use.cold_left_over,
            "outside": use.outside,
        }
        if use.clock is not None:
            found["clock"] = _clock(use.clock.offset_ms, use.clock.drift, use.clock.spread_ms, study)
    return found


def _clock(offset_ms: float, drift: float, spread_ms: float, study: Study) -> dict[str, Any]:
    """The offset as a time zone (a multiple of a quarter of an hour) and the rest: clocks' error and the way back."""
    zone = round(offset_ms / 900_000) if study.folder.clock == "local" else 0
    sign = "+" if zone >= 0 else "-"
    return {
        "offset_s": round(offset_ms / 1000, 4),
        "time_zone": f"UTC{sign}{abs(zone) // 4:02d}:{abs(zone) % 4 * 15:02d}",
        "remaining_s": round((offset_ms - zone * 900_000) / 1000, 4),
        "drift_ppm": round(drift * 1e6, 1),
        "spread_ms": round(spread_ms, 2),
    }


def _slowest(study: Study) -> dict[str, int]:
    """Who makes the tail: the labels of the slowest 1% of the answered requests."""
    slowest = study.slowest(0.01)
    return {"n": slowest.total(), **slowest}


def _last_cold_s(study: Study) -> float | None:
    """Seconds after the first request until the last cold one was answered: how long the cold phase lasted."""
    if (log := study.log_only) is not None:
        return round(float(log.at_ms[log.is_cold].max()) / 1000 - study.start_s, 3) if log.is_cold.any() else None
    ends = [item.request.end_s for item in study.select(Label.COLD)]
    return round(max(ends) - study.start_s, 3) if ends else None
