"""Medians and their uncertainty. A comparison is measured in rounds, both sides in each, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

Rounds = Sequence[Sequence[float]]
"""Samples of one side, grouped by the round they were taken in."""

Compare = Callable[[float, float], float]


def pooled(rounds: Rounds) -> list[float]:
    return [sample for samples in rounds for sample in samples]


def percentile(samples: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics (numpy's default); `share` from 0 to 1."""
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def ratio(left: float, right: float) -> float:
    return left / right


def difference(left: float, right: float) -> float:
    return left - right


def compare_medians(left: Rounds, right: Rounds, compare: Compare) -> float:
    return compare(median(pooled(left)), median(pooled(right)))


def bootstrap_interval(
    left: Rounds, right: Rounds, compare: Compare, *, draws: int = 1000, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of `compare_medians`, drawing whole rounds with replacement (a block bootstrap).

    Samples next to each other in time are not independent and both sides of a round saw the same machine,
    so the round is the unit that is drawn (Efron & Tibshirani, An Introduction to the Bootstrap, ch. 8, 13).
    Raises ValueError if the sides have different numbers of rounds.
    """
    import numpy

    if len(left) != len(right):
        raise ValueError(f"{len(left)} rounds against {len(right)}")
    first = [numpy.asarray(samples, dtype=float) for samples in left]
    second = [numpy.asarray(samples, dtype=float) for samples in right]
    values = []
    for drawn in _draws(len(left), draws):
        one = numpy.median(numpy.concatenate([first[index] for index in drawn]))
        other = numpy.median(numpy.concatenate([second[index] for index in drawn]))
        values.append(compare(float(one), float(other)))
    return _middle(values, confidence)


def percentile_interval(
    rounds: Rounds, share: float, *, draws: int = 1000, confidence: float = 0.95
) -> tuple[float, float]:
    """The same for one side's percentile (`share` from 0 to 1)."""
    values = [
        percentile([sample for index in drawn for sample in rounds[index]], share)
        for drawn in _draws(len(rounds), draws)
    ]
    return _middle(values, confidence)


def _draws(rounds: int, draws: int) -> Any:
    """Numbers of rounds, drawn with replacement: always the same ones."""
    import numpy

    return numpy.random.default_rng(0).integers(rounds, size=(draws, rounds))


def _middle(values: Sequence[float], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    return percentile(values, tail), percentile(values, 1 - tail)
