"""What the benchmark must show: one row per key, with the figure to reach at least and the one to aim for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`higher_is_better` tells on which side of `at_least` and `aim` a value must lie. `built`: there
    is something to measure."""

    key: str
    figure: str
    unit: str
    at_least: float
    aim: float
    higher_is_better: bool = False
    built: bool = True

    def verdict(self, value: float) -> str:
        """ "aim", "ok" (at least reached) or "MISSED"."""
        sign = -1 if self.higher_is_better else 1
        if sign * value <= sign * self.aim:
            return "aim"
        return "ok" if sign * value <= sign * self.at_least else "MISSED"


TARGETS = (
    Target("warm_p50_over_fastapi", "warm, keep-alive, sequential; FastAPI 1 worker", "ratio", 1.2, 0.85),
    Target("warm_p50_over_rie", "warm, one connection per request; RIE", "ratio", 0.65, 0.4),
    Target("throughput_c100_over_fastapi_2w", "100 connections; FastAPI 2 workers", "ratio", 0.6, 1.2, True),
    Target("cold_plain_p50_over_ref", "cold start, no snapshot; bare Python process", "ratio", 1.10, 1.02),
    Target("control_plane_p50_over_moto", "list and get by boto3; moto_server", "ratio", 0.5, 0.35),
    Target("up_ready_s", "preheat up to first answered API call", "s", 1.0, 0.3),
    Target("up_idle_mb", "preheat up, idle, resident memory", "MB", 90, 60),
    Target("gateway_overhead_us", "gateway over direct Invoke, p50", "us", 60, 30),
    Target("routes_10k_over_10", "warm, last of 10,000 routes; last of 10", "ratio", 1.2, 1.05),
    Target("cold_snapshot_p50_over_ref", "cold start from a snapshot, p50", "ratio", 0.012, 0.004),
    Target("cold_snapshot_p99_ms", "cold start from a snapshot, p99", "ms", 25, 10),
    Target("env_pss_mb", "memory per live environment beyond the first", "MB", 6, 3.5),
    Target("live_environments", "environments live at once and answering", "count", 1000, 2000, True),
    Target("freeze_thaw_ms", "a request whose environment is frozen; running", "ms", 0.4, 0.25),
    Target("registry_push_over_debian", "one large blob pushed; docker-registry", "ratio", 0.7, 1.0, True),
    Target("registry_pull_over_debian", "one large blob pulled; docker-registry", "ratio", 0.7, 1.0, True),
    Target("container_start_over_process_ms", "start in a container; in a process", "ms", 60, 40),
    Target("sim_invocations_per_s", "simulated invocations per second", "1/s", 1e6, 3e6, True, built=False),
    Target("report_10m_s", "10 million REPORT lines analysed", "s", 20, 6),
)
"""Figures of the team's bench sheet, restated in docs/bench.md."""
