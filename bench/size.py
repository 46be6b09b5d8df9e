"""How many samples a run takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Rounds alternate between Preheat and its peer; `*_each` samples a side and round."""

    warm_rounds: int = 20
    warm_each: int = 200
    throughput_rounds: int = 5
    throughput_s: int = 10
    cold_pairs: int = 21
    control_rounds: int = 20
    control_each: int = 20
    starts: int = 9
    snapshot_rounds: int = 12
    snapshot_each: int = 25
    environments: int = 1000
    freeze_rounds: int = 20
    freeze_each: int = 25
    report_lines: int = 10_000_000
    report_rounds: int = 3
    blob_mb: int = 500
    registry_rounds: int = 7


QUICK = Size(
    5,
    100,
    2,
    3,
    5,
    5,
    20,
    3,
    3,
    10,
    100,
    report_lines=1_000_000,
    report_rounds=1,
    blob_mb=100,
    freeze_rounds=4,
    registry_rounds=2,
)
FULL = Size(environments=2000)
