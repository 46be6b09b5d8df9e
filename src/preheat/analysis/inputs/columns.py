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

_FIELDS = """
    {at} AS at_ms,
    try_cast(split_part(split_part(m, chr(9), 2), ' ', 2) AS DOUBLE) AS duration_ms,
    try_cast(split_part(split_part(m, chr(9), 3), ' ', 3) AS DOUBLE) AS billed_ms,
    try_cast(split_part(split_part(m, chr(9), 4), ' ', 3) AS DOUBLE) AS memory_mb,
    try_cast(split_part(split_part(m, chr(9), 5), ' ', 4) AS DOUBLE) AS max_memory_mb,
    CASE WHEN contains(m, chr(9) || 'Init Duration: ')
         THEN try_cast(regexp_extract(m, '\\tInit Duration: ([0-9.]+) ms', 1) AS DOUBLE) END AS init_ms,
    CASE WHEN contains(m, chr(9) || 'Restore Duration: ')
         THEN try_cast(regexp_extract(m, '\\tRestore Duration: ([0-9.]+) ms', 1) AS DOUBLE) END AS restore_ms,
    CASE WHEN NOT contains(m, chr(9) || 'Status: ') THEN {ok}
         WHEN contains(m, 'Status: timeout') THEN {timeout}
         WHEN contains(m, 'Status: success') THEN {ok} ELSE {error} END AS status,
    {stream} AS environment
"""


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
    connection.execute("SET preserve_insertion_order = false")
    columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(width))
    source = (
        f"read_csv(?, columns = {{{columns}}}, header = true, delim = ',', quote = '\"', escape = '\"', "
        "auto_detect = false, strict_mode = false, null_padding = false, max_line_size = 4194304)"
    )
    time = "coalesce(try_cast(t AS DOUBLE), epoch_us(try_cast(t AS TIMESTAMP)) / 1000.0)"
    where = "(hash(s) >> 34)::INTEGER" if stream is not None else "-1"
    name = "NULL" if stream is None else f"c{stream}"
    inner = f"SELECT c{at} AS t, c{message} AS m, {name} AS s FROM {source}"
    fields = _FIELDS.format(at=time, ok=OK, timeout=TIMEOUT, error=ERROR, stream=where)
    reports = connection.execute(
        f"SELECT {fields} FROM ({inner}) WHERE starts_with(m, 'REPORT RequestId: ')", [str(path)]
    ).fetchnumpy()
    inits = connection.execute(
        f"SELECT {time} AS at_ms, try_cast(regexp_extract(m, 'Init Duration: ([0-9.]+) ms', 1) AS DOUBLE) AS init_ms, "
        f"{where} AS environment FROM ({inner}) WHERE starts_with(m, 'INIT_REPORT ')",
        [str(path)],
    ).fetchnumpy()
    return _log(reports, inits)


def _log(reports: dict[str, Any], inits: dict[str, Any]) -> ServerLog | None:
    import numpy as np

    plain = {name: _filled(values) for name, values in reports.items() if name not in ("status", "environment")}
    for needed in ("at_ms", "duration_ms", "billed_ms"):
        if np.isnan(plain[needed]).any():
            return None  # not the lines we know: let them be read one by one
    if not len(plain["at_ms"]):
        return None
    order = np.argsort(plain["at_ms"], kind="stable")
    return assemble(
        {name: values[order] for name, values in plain.items()},
        status=np.asarray(reports["status"])[order].astype(np.uint8),
        environment=np.asarray(reports["environment"])[order].astype(np.int32),
        request_ids=None,
        inits=list(
            zip(
                _filled(inits["at_ms"]).tolist(),
                _filled(inits["init_ms"]).tolist(),
                np.asarray(inits["environment"]).tolist(),
                strict=True,
            )
        ),
    )


def _filled(values: Any) -> Any:
    """DuckDB gives masked arrays where values are missing; here they are nan."""
    import numpy as np

    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
