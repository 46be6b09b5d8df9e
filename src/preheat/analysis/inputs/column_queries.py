"""The forms of large logs that DuckDB reads straight into columns, each as one query.

Every query gives the same columns: `kind` (REPORT, INIT_REPORT, or a line that should not stand where it does), the
figures of `server_log.ServerLog` with nan for what is absent, `status`, and `environment`.
"""

from __future__ import annotations

import re

from preheat.analysis.inputs.cloudwatch import MESSAGES, STREAMS, TIMES
from preheat.analysis.server_log import ERROR, OK, TIMEOUT

REPORT, INIT, ODD = 0, 1, 2
_NAN = "'NaN'::DOUBLE"
_LIMITS = "auto_detect = false, strict_mode = false, max_line_size = 4194304"
_TOKENS = 34
"""A REPORT line with everything that Lambda is known to write in it has about thirty words."""


def query_for(head: str) -> str | None:
    """The query that reads a file which begins with `head`, its path being the one parameter; None where no form fits.
    `head` must hold a REPORT line."""
    first = head.split("\n", 1)[0].strip()
    if first.startswith("{"):
        return _json_lines(head)
    names = [name.strip(' "').lower() for name in first.split(",")]
    at, message, stream = (_named(names, wanted) for wanted in (TIMES, MESSAGES, STREAMS))
    if at is None or message is None:
        return _text(head)
    if len(names) == 2 and (at, message) == (0, 1) and re.search(r'^\d{13},"REPORT RequestId: ', head, re.MULTILINE):
        return _words(0, '"', "split_part(c0, ',', 1)", None, header=True)
    return _quoted(at, message, stream, len(names))


def _named(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _time(text: str) -> str:
    """Epoch milliseconds of an SQL expression: a number of them, or ISO 8601 (in UTC where it names no zone)."""
    return f"coalesce(try_cast({text} AS DOUBLE), epoch_us(try_cast({text} AS TIMESTAMPTZ)) / 1000.0, {_NAN})"


def _number(text: str) -> str:
    return f"coalesce(try_cast({text} AS DOUBLE), {_NAN})"


def _environment(stream: str | None) -> str:
    return "-1" if stream is None else f"(hash({stream}) >> 34)::INTEGER"


def _figure(text: str, name: str) -> str:
    """The figure after a name in a line, nan where it is not there."""
    found = f"regexp_extract({text}, '(?:^|\\t){name}: ([0-9.]+) ms', 1)"
    return f"CASE WHEN contains({text}, '{name}: ') THEN {_number(found)} ELSE {_NAN} END"


def _status(text: str) -> str:
    return (
        f"CASE WHEN NOT contains({text}, '\tStatus: ') THEN {OK} WHEN contains({text}, '\tStatus: timeout') THEN "
        f"{TIMEOUT} WHEN contains({text}, '\tStatus: success') THEN {OK} ELSE {ERROR} END"
    )


def _quoted(at: int, message: int, stream: int | None, width: int) -> str:
    """CSV with any columns, read as CSV: messages may hold line feeds, quotes and commas."""
    columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(width))
    source = (
        f"read_csv(?, columns = {{{columns}}}, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"null_padding = false, {_LIMITS})"
    )
    environment = _environment(None if stream is None else f"c{stream}")
    inner = f"SELECT {_time(f'c{at}')} AS at_ms, c{message} AS m, {environment} AS environment FROM {source}"
    return _of_messages(inner)


def _of_messages(inner: str) -> str:
    """From (at_ms, m, environment), `m` being the event's message: the fields stand between tabs."""

    def word(field: int, place: int) -> str:
        return _number(f"split_part(split_part(m, chr(9), {field}), ' ', {place})")

    return f"""
        SELECT CASE WHEN starts_with(m, 'REPORT ') THEN {REPORT} ELSE {INIT} END::UTINYINT AS kind, at_ms,
            {word(2, 2)} AS duration_ms, {word(3, 3)} AS billed_ms, {word(4, 3)} AS memory_mb,
            {word(5, 4)} AS max_memory_mb,
            CASE WHEN starts_with(m, 'INIT_REPORT ') THEN {word(1, 4)} ELSE {_figure("m", "Init Duration")} END
                AS init_ms,
            {_figure("m", "Restore Duration")} AS restore_ms, {_status("m")}::UTINYINT AS status, environment
        FROM ({inner}) WHERE starts_with(m, 'REPORT RequestId: ') OR starts_with(m, 'INIT_REPORT ')"""


def _text(head: str) -> str | None:
    """`aws logs tail` and exports to S3: a time, perhaps a stream, and the message, separated by spaces."""
    found = re.search(r"^(\S+ (?:\S+ )?)REPORT RequestId: \S+\tDuration: [\d.]+ ms\t", head, re.MULTILINE)
    if found is None:
        return None
    before = found[1].split()
    if not re.match(r"\d{13}$|\d{4}-\d\d-\d\dT", before[0]):
        return None
    return _words(len(before), "", "c0", "c1" if len(before) == 2 else None, header=False)


def _words(place: int, before: str, at: str, stream: str | None, *, header: bool) -> str:
    """Lines read as words between spaces, so that every figure of a REPORT line is a column of its own and no line is
    searched: two thirds of the time that `_quoted` takes. `place` is where the word REPORT stands.

    In the console's CSV the word comes behind `,"`: inside a quoted message a quote would be doubled, so that no
    message can look like a line. What is found at another place is `ODD`, and the file is then left to other readers.
    """
    columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(_TOKENS))
    source = (
        f"read_csv(?, columns = {{{columns}}}, header = {str(header).lower()}, delim = ' ', quote = '', escape = '', "
        f"null_padding = true, ignore_errors = true, {_LIMITS})"
    )
    key, name = (f"c{place + number}" for number in (0, 1))
    if before:
        is_report, is_init = (f"ends_with({key}, ',{before}{word}')" for word in ("REPORT", "INIT_REPORT"))
    else:
        is_report, is_init = f"{key} = 'REPORT'", f"{key} = 'INIT_REPORT'"
    is_report, is_init = f"({is_report} AND {name} = 'RequestId:')", f"({is_init} AND {name} = 'Init')"
    others = [number for number in range(4) if number != place]
    odd = " OR ".join(f"(c{number} = 'REPORT' AND c{number + 1} = 'RequestId:')" for number in others)
    odd += " OR (ends_with(c0, ',REPORT') AND c1 = 'RequestId:')" if before else ""
    last = place + 14
    # Behind Max Memory Used most lines have nothing: only the others are looked through, and put together but once.
    words = ", ".join(f"c{number}" for number in range(last, _TOKENS))
    tail = f"CASE WHEN c{last + 1} IS NULL THEN NULL ELSE concat_ws(' ', {words}) END"
    inner = f"""
        SELECT CASE WHEN {is_report} THEN {REPORT} WHEN {is_init} THEN {INIT} ELSE {ODD} END::UTINYINT AS kind,
            {_time(at)} AS at_ms, {_number(f"c{place + 3}")} AS duration_ms, {_number(f"c{place + 6}")} AS billed_ms,
            {_number(f"c{place + 9}")} AS memory_mb, {_number(f"c{place + 13}")} AS max_memory_mb, {tail} AS tail,
            {_environment(stream)} AS environment
        FROM {source} WHERE {is_report} OR {is_init} OR {odd}"""
    return f"""
        SELECT kind, at_ms, duration_ms, billed_ms, memory_mb, max_memory_mb, environment,
            CASE WHEN kind = {INIT} THEN duration_ms WHEN tail IS NULL THEN {_NAN}
                ELSE {_figure("tail", "Init Duration")} END AS init_ms,
            CASE WHEN tail IS NULL THEN {_NAN} ELSE {_figure("tail", "Restore Duration")} END AS restore_ms,
            CASE WHEN tail IS NULL THEN {OK} ELSE {_status("tail")} END::UTINYINT AS status
        FROM ({inner})"""


_METRICS = ("durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs", "restoreDurationMs")
_EVENT = "timestamp: 'VARCHAR', message: 'VARCHAR', logStreamName: 'VARCHAR'"


def _json_lines(head: str) -> str | None:
    """One JSON object a line: the JSON log format itself, or CloudWatch's events, their messages text or such JSON."""
    events = f"(SELECT * FROM read_json(?, format = 'newline_delimited', ignore_errors = true, columns = {{{_EVENT}}}))"
    metrics = ", ".join(f"{name} DOUBLE" for name in _METRICS)
    if '"REPORT RequestId: ' in head:
        at, environment = _time("timestamp"), _environment("coalesce(logStreamName, '')")
        return _of_messages(f"SELECT {at} AS at_ms, message AS m, {environment} AS environment FROM {events}")
    if '\\"platform.report\\"' in head:
        shape = ", ".join(f'"{name}": "DOUBLE"' for name in _METRICS)
        shape = f'{{"type": "VARCHAR", "record": {{"status": "VARCHAR", "phase": "VARCHAR", "metrics": {{{shape}}}}}}}'
        line = f"from_json(message, '{shape}')"
        inner = f"SELECT *, {line} AS line FROM {events} WHERE contains(message, '\"platform.')"
        fields = "line.type AS type, line.record AS record, timestamp AS time, coalesce(logStreamName, '') AS stream"
        return _of_records(f"SELECT {fields} FROM ({inner})", _environment("stream"))
    if re.search(r'"type": ?"platform\.report"', head):
        record = f"STRUCT(status VARCHAR, phase VARCHAR, metrics STRUCT({metrics}))"
        columns = f"time: 'VARCHAR', type: 'VARCHAR', record: '{record}'"
        source = f"read_json(?, format = 'newline_delimited', ignore_errors = true, columns = {{{columns}}})"
        return _of_records(f"SELECT * FROM {source}", _environment(None))
    return None


def _of_records(inner: str, environment: str) -> str:
    """From (type, record, time): `platform.report` and the initialisations that it does not show
    (`lambda_lines` reads the same ones)."""
    duration, billed, memory, used, init, restore = (_number(f"record.metrics.{name}") for name in _METRICS)
    status = f"CASE coalesce(record.status, '') WHEN 'timeout' THEN {TIMEOUT} WHEN 'success' THEN {OK} "
    status += f"WHEN '' THEN {OK} ELSE {ERROR} END"
    plain = "(record.phase = 'init' AND coalesce(record.status, 'success') = 'success')"
    return f"""
        SELECT CASE WHEN type = 'platform.report' THEN {REPORT} ELSE {INIT} END::UTINYINT AS kind,
            {_time("time")} AS at_ms, {duration} AS duration_ms, {billed} AS billed_ms, {memory} AS memory_mb,
            {used} AS max_memory_mb,
            CASE WHEN type = 'platform.report' THEN {init} ELSE {duration} END AS init_ms, {restore} AS restore_ms,
            ({status})::UTINYINT AS status, {environment} AS environment
        FROM ({inner}) WHERE type = 'platform.report' OR (type = 'platform.initReport' AND NOT {plain})"""
