"""Large logs, read by DuckDB straight into columns: ten million REPORT lines in seconds.

What it cannot read exactly as `cloudwatch` and `lambda_lines` would (another form, another encoding, lines whose tabs
were lost) it leaves to them; a test holds the two to the same columns.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from preheat.analysis.inputs.column_queries import INIT, ODD, query_for
from preheat.analysis.server_log import ServerLog, assemble

LARGE_BYTES = 32 << 20
"""Below this, reading line by line takes under a second or two."""
_HEAD_BYTES = 4 << 20
"""In which a REPORT line must stand for the form of the file to be known."""
_PACKED = 8
"""How much smaller gzip makes a log, about."""


def is_large(path: Path) -> bool:
    return path.stat().st_size * (_PACKED if path.suffix == ".gz" else 1) >= LARGE_BYTES


def read_large(path: Path) -> ServerLog | None:
    """The log in a large file; None where it is of no known form or DuckDB does not read it as it should be."""
    query = query_for(_head(path))
    if query is None:
        return None
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.execute(query, [str(path)]).fetchnumpy()
    except duckdb.Error:
        return None
    return _log({name: _plain(values) for name, values in rows.items()})


def _head(path: Path) -> str:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            head = file.read(_HEAD_BYTES)
        except (OSError, EOFError):
            return ""
    return head.decode("utf-8", "replace").lstrip("\ufeff").replace("\r\n", "\n")


def _log(rows: dict[str, Any]) -> ServerLog | None:
    """Sort the rows by time and part REPORT from INIT_REPORT; None if a line is not as we know it."""
    import numpy as np

    rows = _in_order(rows)
    kind = rows.pop("kind")
    if (kind == ODD).any():
        return None
    is_init = kind == INIT
    inits = list(zip(*(rows[name][is_init].tolist() for name in ("at_ms", "init_ms", "environment")), strict=True))
    if inits:
        rows = {name: values[~is_init] for name, values in rows.items()}
    if not len(rows["at_ms"]) or any(np.isnan(rows[needed]).any() for needed in ("at_ms", "duration_ms", "billed_ms")):
        return None
    status, environment = rows.pop("status"), rows.pop("environment").astype(np.int32, copy=False)
    return assemble(rows, status=status, environment=environment, request_ids=None, inits=inits)


def _in_order(rows: dict[str, Any]) -> dict[str, Any]:
    """Oldest first; exports are sorted one way or the other, or pieces of them are put together."""
    import numpy as np

    at_ms = rows["at_ms"]
    if (at_ms[1:] >= at_ms[:-1]).all():
        return rows
    if (at_ms[1:] <= at_ms[:-1]).all():
        return {name: values[::-1] for name, values in rows.items()}
    order = np.argsort(at_ms, kind="stable")
    return {name: values[order] for name, values in rows.items()}


def _plain(values: Any) -> Any:
    """DuckDB gives masked arrays where values could be missing; here none are."""
    import numpy as np

    return values.data if isinstance(values, np.ma.MaskedArray) else values
