"""Ten million REPORT lines, as the console exports them, and a run of a million requests with its journal, analysed:
read, labelled, taken apart and summed up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench.result import Result, absolute
from bench.size import Size

PROGRAM = """
import json, resource, sys, time
started = time.perf_counter()
from preheat.analysis.decomposition import write_labels
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise
from pathlib import Path
study = load_study(sys.argv[1])
summary = summarise(study, {})
write_labels(study, Path(sys.argv[1]).parent / "labels.csv")
elapsed_s = time.perf_counter() - started
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([elapsed_s, peak_mb, summary["requests"], summary["cold"], summary["failed"].get("timeout", 0)]))
"""

EXPORT = r"""
COPY (
    SELECT 1763800000000 + i // 20 AS timestamp,
           printf(E'REPORT RequestId: %08x-0000-4000-8000-%012x\tDuration: %.2f ms\tBilled Duration: %d ms\t'
                  || E'Memory Size: 128 MB\tMax Memory Used: 119 MB\t%s\n',
                  hash(i) % 4294967296, i, 2.0 + (hash(i) % 4000) / 1000.0, 3 + (hash(i) % 4000) // 1000,
                  CASE WHEN i % 100 = 0 THEN printf(E'Init Duration: %.2f ms\t', 1800.0 + (hash(i) % 300000) / 1000.0)
                       WHEN i % 1000 = 1 THEN 'Status: timeout' ELSE '' END) AS message
    FROM range({lines}) AS lines(i)
) TO '{path}' (HEADER, DELIMITER ',', QUOTE '"', FORCE_QUOTE (message))
"""

REQUESTS = """
COPY (
    SELECT i AS index, i % 500 AS user, 'POST' AS method, '/default/iris' AS name, 'http://127.0.0.1:4566' AS url,
           printf('%.6f', 1763800000 + i / 500.0) AS intended_start_s,
           printf('%.6f', 1763800000 + i / 500.0) AS start_s,
           CASE WHEN i < 500 THEN 'new' ELSE 'reused' END AS connection,
           CASE WHEN i < 500 THEN '0.310' ELSE '' END AS connect_ms, '' AS tls_ms,
           printf('%.3f', 4 + (hash(i) % 4000) / 1000.0 + CASE WHEN i % 100 = 0 THEN 1800 ELSE 0 END) AS response_ms,
           200 AS status, 45 AS bytes, printf('%08x-0000-4000-8000-%012x', hash(i) % 4294967296, i) AS request_id,
           '' AS error
    FROM range({requests}) AS requests(i)
) TO '{folder}/requests.csv' (HEADER)
"""

JOURNAL = """
COPY (
    SELECT 'invocation' AS type, 1763800000000 + i * 2.0 + 0.5 AS at_ms,
           printf('%08x-0000-4000-9000-%012x', hash(i) % 4294967296, i) AS request_id,
           printf('%08x-0000-4000-8000-%012x', hash(i) % 4294967296, i) AS gateway_request_id,
           'iris' AS function, '$LATEST' AS version, printf('%032x', i // 100) AS environment, i % 100 = 0 AS cold,
           i * 2000000 AS received_ns, i * 2000000 AS started_ns, i * 2000000 AS finished_ns,
           CASE WHEN i % 100 = 0 THEN 1800.0 ELSE 0.05 END AS wait_ms,
           CASE WHEN i % 100 = 0 THEN 1790.0 END AS init_ms, 1.0 + (hash(i) % 4000) / 1000.0 AS duration_ms,
           5 AS billed_ms, 512 AS memory_mb, 126 AS max_memory_mb, 'ok' AS status, NULL AS error_type,
           '/aws/lambda/iris' AS log_group, printf('2026/11/22/[$LATEST]%032x', i // 100) AS log_stream
    FROM range({requests}) AS requests(i)
) TO '{folder}/journal.jsonl' (FORMAT json)
"""


def _million(folder: Path, requests: int) -> str:
    """One run of so many requests, in words: how long the analysis of its rows and its journal took."""
    import duckdb

    run = folder / "run-of-many"
    run.mkdir()
    with duckdb.connect() as connection:
        for statement in (REQUESTS, JOURNAL):
            connection.execute(statement.format(requests=requests, folder=run))
    found = _measured(run)
    if found[2:4] != [requests, requests // 100]:
        raise RuntimeError(f"requests and cold are {found[2:4]}, not {requests} and {requests // 100}")
    shutil.rmtree(run)
    return f"{requests:,} client requests by request id, each taken apart: {found[0]:.1f} s, {found[1] / 1024:.1f} GiB"


def _measured(path: Path) -> list[float]:
    """[seconds, MiB at most, requests or lines, cold, timed out] of a new process that analyses what is there."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def analysed(folder: Path, size: Size) -> Result:
    """Each sample is a new process, from its first import on; the labels must be those written into the file."""
    import duckdb

    path = folder / "log-events-viewer-result.csv"
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(EXPORT.format(lines=size.report_lines, path=path))
    wanted = [size.report_lines, size.report_lines // 100, size.report_lines // 1000]
    samples, peaks = [], []
    for _ in range(size.report_rounds):
        elapsed_s, peak_mb, *found = _measured(path)
        if found != wanted:
            raise RuntimeError(f"lines, cold and timed out are {found}, not {wanted}")
        samples.append(elapsed_s)
        peaks.append(peak_mb)
    gigabytes = path.stat().st_size / 1e9
    note = f"{size.report_lines:,} lines, {gigabytes:.2f} GB, at most {max(peaks) / 1024:.1f} GiB of memory"
    path.unlink()
    note += f"; {_million(folder, size.report_lines // 10)}"
    return absolute("report_10m_s", "Preheat", samples, "s", note)
