"""What one row of the benchmark found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.stats import Compare, Rounds, bootstrap_interval, compare_medians, percentile, percentile_interval, pooled


@dataclass(frozen=True, slots=True)
class Result:
    """`sides` holds the raw samples by side and round; `unit` is theirs. `n` counts samples of Preheat's side."""

    key: str
    value: float
    interval: tuple[float, float]
    n: int
    sides: Mapping[str, Rounds]
    unit: str
    note: str = ""


def comparison(
    key: str, compare: Compare, left: tuple[str, Rounds], right: tuple[str, Rounds], unit: str, note: str = ""
) -> Result:
    """A row that sets Preheat (`left`) against a peer (`right`), both as (name, samples in rounds)."""
    value = compare_medians(left[1], right[1], compare)
    interval = bootstrap_interval(left[1], right[1], compare)
    return Result(key, value, interval, len(pooled(left[1])), dict((left, right)), unit, note)


def absolute(key: str, name: str, samples: list[float], unit: str, note: str = "") -> Result:
    """A row that states a figure of Preheat alone: the median of independent samples."""
    rounds = [[sample] for sample in samples]
    ones = [[1.0] for _ in samples]
    value = compare_medians(rounds, ones, lambda left, _: left)
    interval = bootstrap_interval(rounds, ones, lambda left, _: left)
    return Result(key, value, interval, len(samples), {name: rounds}, unit, note)


def tail(key: str, name: str, rounds: Rounds, share: float, unit: str, note: str = "") -> Result:
    """A row that states a high percentile (`share` from 0 to 1) of Preheat's own samples."""
    samples = pooled(rounds)
    value, interval = percentile(samples, share), percentile_interval(rounds, share)
    return Result(key, value, interval, len(samples), {name: rounds}, unit, note)
