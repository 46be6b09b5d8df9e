"""Large CloudWatch exports, read by DuckDB straight into columns: ten million REPORT lines in seconds.

What it cannot read exactly as `cloudwatch` and `lambda_lines` would (another form, another encoding, lines whose tabs
were lost) it leaves to them; a test holds the two to the same columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preheat.analysis.inputs.cloudwatch import MESSAGES, STREAMS, TIMES
from preheat.analysis.server_log import ERROR, OK, TIMEOUT, ServerLog, assemble

LARGE_BYTES = 32 << 20
"""Below this, reading line by line takes under a second or two."""

_NAN = "'NaN'::DOUBLE"
_FIELDS = """
    starts_with(m, 'REPORT ') AS is_report,
    coalesce({at}, {nan}) AS at_ms,
    coalesce(try_cast(split_part(split_part(m, chr(9), 2), ' ', 2) AS DOUBLE), {nan}) AS duration_ms,
    coalesce(try_cast(split_part(split_part(m, chr(9), 3), ' ', 3) AS DOUBLE), {nan}) AS billed_ms,
    coalesce(try_cast(split_part(split_part(m, chr(9), 4), ' ', 3) AS DOUBLE), {nan}) AS memory_mb,
    coalesce(try_cast(split_part(split_part(m, chr(9), 5), ' ', 4) AS DOUBLE), {nan}) AS max_memory_mb,
    CASE WHEN contains(m, 'Init Duration: ') THEN coalesce(
        try_cast(regexp_extract(m, '\\bInit Duration: ([0-9.]+) ms', 1) AS DOUBLE), {nan}) ELSE {nan} END AS init_ms,
    CASE WHEN contains(m, '\tRestore Duration: ') THEN coalesce(
        try_cast(regexp_extract(m, '\\tRestore Duration: ([0-9.]+) ms', 1) AS DOUBLE), {nan})
        ELSE {nan} END AS restore_ms,
    CASE WHEN NOT contains(m, '\tStatus: ') THEN {ok}
         WHEN contains(m, '\tStatus: timeout') THEN {timeout}
         WHEN contains(m, '\tStatus: success') THEN {ok} ELSE {error} END::UTINYINT AS status,
    {stream} AS environment
"""
_WANTED = "starts_with(m, 'REPORT RequestId: ') OR starts_with(m, 'INIT_REPORT ')"


def is_large(path: Path) -> bool:
    return path.stat().st_size >= LARGE_BYTES


def read_large(path: Path) -> ServerLog | None:
    """The log in a large CSV export; None where the file is no CSV of log events or DuckDB does not read it."""
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8", "replace").strip("\ufeff\r\n")
    names = [name.strip(' "').lower() for name in first.split(",")]
    at, message = _named(names, TIMES), _named(names, MESSAGES)
    if at is None or message is None:
        return None
    import duckdb

    try:
        with duckdb.connect() as connection:
            return _query(connection, path, at, message, _named(names, STREAMS), len(names))
    except duckdb.Error:
        return None


def _named(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _query(connection: Any, path: Path, at: int, message: int, stream: int | None, width: int) -> ServerLog | None:
    connection.execute("SET enable_progress_bar = false")
    columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(width))
    source = (
        f"read_csv(?, columns = {{{columns}}}, header = true, delim = ',', quote = '\"', escape = '\"', "
        "auto_detect = false, strict_mode = false, null_padding = false, max_line_size = 4194304)"
    )
    time = "coalesce(try_cast(t AS DOUBLE), epoch_us(try_cast(t AS TIMESTAMP)) / 1000.0)"
    where = "(hash(s) >> 34)::INTEGER" if stream is not None else "-1"
    name = "NULL" if stream is None else f"c{stream}"
    inner = f"SELECT c{at} AS t, c{message} AS m, {name} AS s FROM {source}"
    fields = _FIELDS.format(at=time, nan=_NAN, ok=OK, timeout=TIMEOUT, error=ERROR, stream=where)
    rows = connection.execute(f"SELECT {fields} FROM ({inner}) WHERE {_WANTED}", [str(path)]).fetchnumpy()
    return _log({name: _plain(values) for name, values in rows.items()})


def _log(rows: dict[str, Any]) -> ServerLog | None:
    """Sort the rows by time and part REPORT from INIT_REPORT; None if a line is not as we know it."""
    import numpy as np

    rows = _in_order(rows)
    is_report = rows.pop("is_report").astype(bool)
    inits = list(zip(*(rows[name][~is_report].tolist() for name in ("at_ms", "init_ms", "environment")), strict=True))
    if inits:
        rows = {name: values[is_report] for name, values in rows.items()}
    if not len(rows["at_ms"]) or any(np.isnan(rows[needed]).any() for needed in ("at_ms", "duration_ms", "billed_ms")):
        return None
    status, environment = rows.pop("status"), rows.pop("environment").astype(np.int32)
    return assemble(rows, status=status, environment=environment, request_ids=None, inits=inits)


def _in_order(rows: dict[str, Any]) -> dict[str, Any]:
    """Oldest first; exports are sorted one way or the other, or pieces of them are put together."""
    import numpy as np

    at_ms = rows["at_ms"]
    steps = np.diff(at_ms)
    if (steps >= 0).all():
        return rows
    if (steps <= 0).all():
        return {name: values[::-1] for name, values in rows.items()}
    order = np.argsort(at_ms, kind="stable")
    return {name: values[order] for name, values in rows.items()}


def _plain(values: Any) -> Any:
    """DuckDB gives masked arrays where values could be missing; here none are."""
    import numpy as np

    return values.data if isinstance(values, np.ma.MaskedArray) else values
