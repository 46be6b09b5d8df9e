"""Run the benchmark: `make bench`, or `.venv/bin/python -m bench [--quick] [--only KEY]...`."""

from __future__ import annotations

import argparse
import compileall
import contextlib
import functools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    cloud,
    cold,
    containers,
    control,
    freeze,
    live,
    output,
    registry,
    report,
    routes,
    snapshot,
    startup,
    throughput,
    warm,
)
from bench.peers import Workload
from bench.result import Result
from bench.size import FULL, QUICK, Size
from bench.targets import TARGETS

BUSY = 0.5
"""A load average above this, on an otherwise idle machine, is somebody else's work."""

Keys = tuple[str, ...]
Measure = Callable[[], list[Result]]
Place = Callable[[], tuple[cloud.Cloud, cloud.Deployed, Workload]]


def progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def prepare(deployed: cloud.Deployed, folder: Path) -> Workload:
    """The deployed folder again for the peers and REF, byte-compiled as Preheat does when it creates a function."""
    copy = folder / "workload"
    shutil.copytree(deployed.build_dir, copy)
    compileall.compile_dir(copy, quiet=2, workers=0)
    body = json.dumps(json.loads((cloud.EXAMPLE / "sample.json").read_text())).encode()
    return Workload(copy, body, folder)


def alone(folder: Path, size: Size) -> dict[Keys, Measure]:
    """Rows that start servers of their own."""
    return {
        ("up_ready_s", "up_idle_mb"): lambda: startup.ready_and_idle(folder, size),
        ("report_10m_s",): lambda: [report.analysed(folder, size)],
        ("registry_push_over_debian", "registry_pull_over_debian"): lambda: registry.over_debian(folder, size),
        ("container_start_over_process_ms",): lambda: [containers.start_over_process(folder, size)],
        ("control_plane_p50_over_moto",): lambda: [control.over_moto(folder, size)],
    }


def with_function(folder: Path, size: Size, place: Place) -> dict[Keys, Measure]:
    """Rows that need the function deployed; `place` says where it is."""
    return {
        ("warm_p50_over_fastapi",): lambda: [warm.over_fastapi(*place(), size)],
        ("warm_p50_over_rie",): lambda: [warm.over_rie(*place(), size)],
        ("gateway_overhead_us",): lambda: [warm.gateway_overhead(*place(), size)],
        ("routes_10k_over_10",): lambda: [routes.many_over_few(*place(), size)],
        ("cold_plain_p50_over_ref",): lambda: [cold.over_reference(*place(), size)],
        ("throughput_c100_over_fastapi_2w",): lambda: [throughput.over_fastapi(*place(), size)],
        ("cold_snapshot_p50_over_ref", "cold_snapshot_p99_ms"): lambda: snapshot.cold_starts(folder, place()[2], size),
        ("env_pss_mb", "live_environments"): lambda: live.live(folder, place()[2], size),
        ("freeze_thaw_ms",): lambda: [freeze.freeze_and_thaw(folder, place()[2], size)],
    }


def run(folder: Path, size: Size, only: set[str]) -> tuple[dict[str, Result], dict[str, str]]:
    """(results, errors) by key. A row that fails does not take the others with it."""
    results: dict[str, Result] = {}
    errors: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        @functools.cache
        def place() -> tuple[cloud.Cloud, cloud.Deployed, Workload]:
            """One server with the function, started when the first row asks for it."""
            limit = ("--max-environments", str(throughput.ENVIRONMENTS))
            server = stack.enter_context(cloud.up(folder / "data", folder / "up.log", *limit))
            progress("deploying examples/iris")
            deployed = cloud.deploy(server)
            return server, deployed, prepare(deployed, folder)

        for keys, measure in {**alone(folder, size), **with_function(folder, size, place)}.items():
            if only and only.isdisjoint(keys):
                continue
            progress(f"measuring {', '.join(keys)}")
            try:
                results.update({result.key: result for result in measure()})
            except Exception as error:
                errors.update(dict.fromkeys(keys, f"{type(error).__name__}: {error}"))
    return results, errors


def show(results: dict[str, Result], errors: dict[str, str]) -> None:
    print(output.HEADER)
    for target in TARGETS:
        if target.key in results:
            print("\n".join(output.row(target, results[target.key])))
        elif target.key in errors:
            print(f"{target.key:<32} FAILED: {errors[target.key]}")
        elif not target.built:
            print(output.unbuilt(target))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Measure Preheat beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer samples: shows that it works, proves nothing")
    parser.add_argument("--full", action="store_true", help="2,000 live environments instead of 1,000")
    parser.add_argument("--only", action="append", default=[], metavar="KEY", help="measure this row (repeatable)")
    parser.add_argument("--keep", action="store_true", help="keep the servers' logs and data, and say where")
    options = parser.parse_args()
    known = {target.key for target in TARGETS if target.built}
    if unknown := set(options.only) - known:
        parser.error(f"no such row: {', '.join(sorted(unknown))} (rows: {', '.join(sorted(known))})")
    size = QUICK if options.quick else FULL if options.full else Size()
    about = output.machine()
    if about["load_average_1m"] > BUSY:
        progress(f"load average {about['load_average_1m']}: other work is running here and will blur the figures")
    folder = Path(tempfile.mkdtemp(prefix="preheat-bench-"))
    started = time.monotonic()
    try:
        results, errors = run(folder, size, set(options.only))
    finally:
        if options.keep:
            progress(f"logs and data are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(" | ".join(f"{name} {value}" for name, value in about.items()))
    show(results, errors)
    output.write(results, about)
    progress(f"{time.monotonic() - started:.0f} s; written to {output.RESULTS}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
