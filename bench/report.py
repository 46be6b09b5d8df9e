"""Ten million REPORT lines, as the console exports them, analysed: read, labelled and summed up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.result import Result, absolute
from bench.size import Size

PROGRAM = """
import json, resource, sys, time
started = time.perf_counter()
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise
summary = summarise(load_study(sys.argv[1]), {})
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
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
        elapsed_s, peak_mb, *found = json.loads(done.stdout)
        if found != wanted:
            raise RuntimeError(f"lines, cold and timed out are {found}, not {wanted}")
        samples.append(elapsed_s)
        peaks.append(peak_mb)
    gigabytes = path.stat().st_size / 1e9
    note = f"{size.report_lines:,} lines, {gigabytes:.2f} GB, at most {max(peaks) / 1024:.1f} GiB of memory"
    path.unlink()
    return absolute("report_10m_s", "Preheat", samples, "s", note)
