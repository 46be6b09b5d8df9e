"""What a reader must know before trusting the figures: codes are stable, sentences are for people."""

from __future__ import annotations

from preheat.analysis.labels import Label
from preheat.analysis.run_folder import RunFolder
from preheat.analysis.server_log import ServerLog
from preheat.analysis.study import WARM_LABELS, Study
from preheat.analysis.words import FEW, count, duration

EXPORT_LIMITS = (1_000, 10_000)
"""A query of Logs Insights gives 1,000 rows unless told, and 10,000 at most (docs.aws.amazon.com/AmazonCloudWatch,
"CloudWatch Logs Insights query syntax", limit)."""

Warning_ = dict[str, str]
Found = list[tuple[str, str]]


def find_warnings(study: Study) -> list[Warning_]:
    """All warnings of the run, those of the files first."""
    found = [*_input_warnings(study), *_log_warnings(study), *_model_warnings(study), *_label_warnings(study)]
    return [{"code": code, "message": message} for code, message in found]


def _input_warnings(study: Study) -> Found:
    folder, found = study.folder, []
    found += [("not-read", f"{each}.") for each in folder.unread]
    if folder.table.torn:
        found.append(("torn-row", "The last row of requests.csv is cut off: the run was stopped while writing it."))
    if folder.table.bad_rows:
        lines = ", ".join(map(str, folder.table.bad_rows[:5]))
        found.append(("bad-rows", f"{len(folder.table.bad_rows)} rows of requests.csv cannot be read (lines {lines})."))
    if folder.journal is not None and folder.journal.bad_lines:
        found.append(("journal-bad-lines", f"{folder.journal.bad_lines} lines of journal.jsonl cannot be read."))
    found += _locust_warnings(folder)
    if folder.log is not None:
        found += _lambda_warnings(folder.log)
    is_ours = "requests.csv" in folder.sources
    if is_ours and not folder.info:
        found.append(("run-info-missing", "There is no run.json: how the run was made is not known."))
    if not study.labelled and study.log_only is None:
        if folder.tables.requests:
            text = "There are only Locust's aggregates and no single request: cold and warm cannot be told apart."
            found.append(("aggregates-only", text))
        else:
            text = "The run has no requests."
            if folder.locust_logs:
                text = "Locust's log has no line `Response time: … ms`: the locustfile must log one for each response."
            found.append(("no-requests", text))
    elif study.labelled and (folder.tables.requests or 0) - len(study.labelled) > 2:
        text = f"Locust counted {folder.tables.requests:,} requests, {len(study.labelled):,} of them stand one by one."
        found.append(("requests-missing", text))
    if study.log_only is not None:
        found.append(("server-times", "There is no client's record: all times are the function's own."))
    return found


def _locust_warnings(folder: RunFolder) -> Found:
    """What is odd about Locust's own log."""
    found = []
    if folder.interrupted:
        found.append(("interrupted", "Locust's log does not say that the run ended: it was interrupted, or is cut."))
    if folder.incomplete:
        found.append(("no-status", f"{count(folder.incomplete, 'response')} in Locust's log without a status line."))
    if folder.without_status:
        text = "Locust's log holds no status lines: every response is taken for a success."
        if folder.tables.failures:
            text += f" But Locust counted {count(folder.tables.failures, 'failure')}."
        found.append(("status-unknown", text))
    if folder.clock_changes:
        text = "The client's clock was put forward or back by an hour during the run; the times are those of before."
        found.append(("clock-changed", text))
    return found


def _lambda_warnings(log: ServerLog) -> Found:
    """What is odd about the function's log."""
    found = []
    if log.bad_rows:
        found.append(("log-bad-rows", f"{count(log.bad_rows, 'row')} of the function's log cannot be read."))
    if log.untimed:
        text = f"{count(log.untimed, 'REPORT line')} without a time: what is said of when is not to be trusted."
        found.append(("log-untimed", text))
    if log.rows in EXPORT_LIMITS:
        text = f"The function's log has exactly {log.rows:,} rows, as exports of Logs Insights end: is it complete?"
        found.append(("log-cut", text))
    return found


def _log_warnings(study: Study) -> Found:
    log, use = study.log, study.use
    if log is None or not study.labelled or study.accounting is not None:
        return []
    if use is None:
        text = f"None of the {len(log):,} REPORT lines could be joined to the requests: {_why(log)}"
        return [("log-not-joined", text)]
    found = []
    if use.left_over:
        text = f"{count(use.left_over, 'REPORT line')} of the run's time without a request (other callers, retries, "
        found.append(("reports-left-over", f"{text}answers lost), {use.cold_left_over} of them cold."))
    if use.clock is not None and abs(use.clock.drift) > 1e-4:
        found.append(("clock-drift", f"The two clocks drift apart by {use.clock.drift * 1e6:,.0f} parts in a million."))
    return found


def _why(log: ServerLog) -> str:
    """What keeps a log from being joined."""
    if log.untimed:
        return "they need their times, to the millisecond."
    if not (log.at_ms % 1000).any():
        return "their times are whole seconds, as `aws logs tail --format short` prints them; export milliseconds."
    return "is it the log of another run, or of several that look alike?"


def _model_warnings(study: Study) -> Found:
    """What the times alone leave open."""
    if study.accounting is not None or study.use is not None or not study.labelled:
        return []
    counts = study.counts
    reached = [item for item in study.labelled if item.request.ok]
    found = []
    if not study.folder.log and any(reached):
        what = "journal" if "requests.csv" in study.folder.sources else "log of the function"
        text = f"There is no {what}: what is said of cold and warm comes from response times alone."
        found.append(("journal-missing", text))
    if not reached or study.model is None:
        return found
    if study.model.explained_by_setup:
        number = count(study.model.explained_by_setup, "slow first request")
        limit = duration(study.setup.limit_ms)
        text = f"Connection set-up alone explains {number} (up to {limit}): they are not called cold."
        found.append(("connection-setup-explains", text))
    if study.model.populations == 1:
        text = "The response times show one population: all may be warm or all cold, and nothing is called either."
        found.append(("one-population", text))
    elif counts[Label.UNKNOWN]:
        found.append(("some-unknown", f"{count(counts[Label.UNKNOWN], 'request')} could be cold or warm."))
    if study.model.populations == 3:
        text = "Three populations: the slowest is called cold, the fastest warm, the one between is left unknown."
        found.append(("three-populations", text))
    return found


def _label_warnings(study: Study) -> Found:
    counts, found = study.counts, []
    failed = sum(not item.request.ok for item in study.labelled)
    if failed:
        found.append(("failed-requests", f"{failed:,} of {len(study.labelled):,} requests failed."))
    if counts[Label.UNMATCHED]:
        where = "journal" if study.accounting is not None else "log"
        found.append(("unmatched", f"{count(counts[Label.UNMATCHED], 'request')} without a record in the {where}."))
    if not study.labelled:
        return found
    accounting = study.accounting
    if accounting is not None and not accounting.ok:
        left = (
            f"{accounting.cold} cold + {accounting.never_served} never used + {accounting.cold_from_others} of others"
        )
        found.append(("accounting", f"{accounting.started} environments started, but {left}: the journal has gaps."))
    return [*found, *_cold_warnings(study)]


def _cold_warnings(study: Study) -> Found:
    """Why there are no cold requests, or why their percentiles are not to be trusted."""
    counts = study.counts
    refused = counts[Label.FAILED_BEFORE_FUNCTION] + counts[Label.THROTTLED]
    if refused == len(study.labelled):
        return [("none-reached-function", "No request reached the function, so none can have been cold.")]
    if not counts[Label.COLD]:
        open_ = counts[Label.UNMATCHED] + counts[Label.UNKNOWN]
        if open_:
            text = "No request is known to have been cold, but not every request is known."
            return [("cold-unknown", text)]
        if not sum(counts[label] for label in (*WARM_LABELS, Label.FAILED_IN_FUNCTION)):
            return [("none-reached-function", "No request reached the function, so none can have been cold.")]
        return [("no-cold", "No request was cold: every environment had served before the run.")]
    found = []
    if counts[Label.COLD] < FEW:
        text = f"Only {count(counts[Label.COLD], 'cold start')}: p95 and p99 are about the maximum."
        found.append(("few-cold", text))
    cold_failed = counts[Label.COLD] - len(study.served(Label.COLD))
    if cold_failed:
        found.append(("cold-failed", f"{cold_failed} cold requests failed in the function; cold_ms leaves them out."))
    return found
