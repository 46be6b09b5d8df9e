"""Points and their statistics: merging, percentiles and the trimmed ones."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.errors import AwsError
from preheat.services.metrics.points import Point, statistic

VALUES = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=60)


def point(*values: float) -> Point:
    made = Point()
    for value in values:
        made.add(value)
    return made


def read(name: str, *values: float) -> float | None:
    return statistic(name)(point(*values))


@given(VALUES, VALUES)
def test_merging_is_adding_all_values(first: list[float], second: list[float]) -> None:
    merged = point(*first)
    merged.merge(point(*second))
    whole = point(*first, *second)
    assert (merged.count, merged.low, merged.high, merged.spread) == (whole.count, whole.low, whole.high, whole.spread)
    assert math.isclose(merged.total, whole.total, abs_tol=1e-9)


@given(VALUES, st.integers(0, 100))
def test_a_percentile_is_the_nearest_rank_to_four_digits(values: list[float], percent: int) -> None:
    exact = sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
    found = read(f"p{percent}", *values)
    assert found is not None
    assert math.isclose(found, exact, rel_tol=6e-4)


@given(VALUES, st.integers(1, 50), st.integers(51, 100))
def test_what_is_trimmed_and_what_is_left_are_all(values: list[float], low: int, high: int) -> None:
    parts = [read(name, *values) for name in (f"TC(:{low}%)", f"TC({low}%:{high}%)", f"TC({high}%:)")]
    assert math.isclose(sum(part or 0.0 for part in parts), len(values), rel_tol=1e-9)
    trimmed = read(f"TM({low}%:{high}%)", *values)
    assert trimmed is not None
    assert min(values) * 0.999 <= trimmed <= max(values) * 1.001


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SampleCount", 4),
        ("Sum", 110),
        ("Average", 27.5),
        ("Minimum", 1),
        ("Maximum", 100),
        ("p0", 1),
        ("p50", 2),
        ("p75", 7),
        ("p99.9", 100),
        ("p100", 100),
        ("tm75", 10 / 3),
        ("TM(25%:75%)", 4.5),
        ("IQM", 4.5),
        ("TM(:10)", 10 / 3),
        ("WM(25%:75%)", (2 + 2 + 7 + 7) / 4),
        ("wm75", (1 + 2 + 7 + 7) / 4),
        ("PR(:7)", 75),
        ("PR(1:7)", 50),
        ("TC(1:7)", 2),
        ("TS(1:7)", 9),
        ("ts75", 10),
        ("tc50", 2),
    ],
)
def test_statistics_of_four_values(name: str, expected: float) -> None:
    assert read(name, 100, 2, 1, 7) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["p101", "average", "p", "TM()", "TM(:)", "TM(10%:90)", "XX(1:2)", "", "p1.5.2"])
def test_an_unknown_statistic_is_refused(name: str) -> None:
    with pytest.raises(AwsError) as caught:
        statistic(name)
    assert (caught.value.code, name in caught.value.message) == ("InvalidParameterValue", True)


def test_no_percentile_of_negative_values_or_of_statistic_sets() -> None:
    assert read("p50", -1, 2) is None
    kept = Point()
    kept.add_set(total=10, count=4, low=1, high=5)
    assert statistic("p50")(kept) is None
    assert statistic("Average")(kept) == 2.5
    assert read("TM(200:300)", 1, 2) is None
