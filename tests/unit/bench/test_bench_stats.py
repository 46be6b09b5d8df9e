"""Medians, percentiles and intervals of the benchmark, against numpy and against what is known beforehand."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.result import absolute, comparison
from bench.stats import bootstrap_interval, compare_medians, difference, percentile, ratio

samples = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60)


@given(samples, st.floats(0, 1))
def test_percentile_is_numpys(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(numpy.percentile(values, share * 100)), rel=1e-9)


def test_medians_are_of_all_rounds_together() -> None:
    assert compare_medians([[1, 2, 9], [2]], [[1], [1]], ratio) == 2
    assert compare_medians([[5], [7]], [[1, 2, 3]], difference) == 4


def test_interval_of_equal_rounds_is_a_point() -> None:
    assert bootstrap_interval([[4.0, 4.0]] * 5, [[2.0]] * 5, ratio) == (2.0, 2.0)


def test_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    generator = numpy.random.default_rng(7)
    hits = 0
    for _ in range(100):
        left = generator.lognormal(numpy.log(3), 0.3, (15, 20)).tolist()
        right = generator.lognormal(0, 0.3, (15, 20)).tolist()
        low, high = bootstrap_interval(left, right, ratio, draws=200)
        hits += low <= 3 <= high
    assert 85 <= hits <= 100


def test_a_slow_round_widens_the_interval() -> None:
    calm = bootstrap_interval([[1.0, 1.1, 0.9]] * 6, [[1.0]] * 6, ratio)
    disturbed = bootstrap_interval([[1.0, 1.1, 0.9]] * 3 + [[9.0, 9.1, 8.9]] * 3, [[1.0]] * 6, ratio)
    assert disturbed[1] - disturbed[0] > calm[1] - calm[0]


def test_sides_must_have_been_measured_in_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="2 rounds against 1"):
        bootstrap_interval([[1], [1]], [[1]], ratio)


def test_results_keep_the_samples_they_come_from() -> None:
    result = comparison("key", ratio, ("Preheat", [[1, 1], [1]]), ("peer", [[2], [2]]), "ms")
    assert (result.value, result.n, dict(result.sides)) == (0.5, 3, {"Preheat": [[1, 1], [1]], "peer": [[2], [2]]})
    assert absolute("key", "Preheat", [1, 3, 2], "s").value == 2
