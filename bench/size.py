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


QUICK = Size(5, 100, 2, 3, 5, 5, 20, 3)
