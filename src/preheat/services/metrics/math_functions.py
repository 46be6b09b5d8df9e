"""The operators and functions of metric math over numbers, series and lists of series. Pure."""

from __future__ import annotations

import math
import operator
import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

Series = dict[int, float]
"""Epoch seconds to values, in order of time."""

Value = float | Series | list[Any]
Function = Callable[[list[Any], range], Value]
"""(arguments, the beginnings of all periods) to a value; IndexError, TypeError or ValueError for wrong arguments."""


def binary(sign: str, left: Value, right: Value) -> Value:
    """Between series: at the times that both have. A list takes part element by element."""
    if isinstance(left, list):
        return [binary(sign, one, right) for one in left]
    if isinstance(right, list):
        return [binary(sign, left, one) for one in right]
    compute = _OPERATORS[sign]
    if isinstance(left, dict):
        if isinstance(right, dict):
            return _finite({at: compute(left[at], right[at]) for at in left if at in right})
        return _finite({at: compute(value, right) for at, value in left.items()})
    if isinstance(right, dict):
        return _finite({at: compute(left, value) for at, value in right.items()})
    return compute(left, right)


def negate(value: Value) -> Value:
    return binary("-", 0.0, value)


def _finite(series: Series) -> Series:
    """Without the times at which there is no answer (a division by zero), as CloudWatch leaves them out."""
    return {at: value for at, value in series.items() if math.isfinite(value)}


def _divide(left: float, right: float) -> float:
    return left / right if right else math.nan


def _power(left: float, right: float) -> float:
    try:
        found = left**right
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return found if isinstance(found, float) else math.nan  # a root of a negative number


_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "^": _power,
    "==": lambda left, right: float(left == right),
    "!=": lambda left, right: float(left != right),
    "<": lambda left, right: float(left < right),
    "<=": lambda left, right: float(left <= right),
    ">": lambda left, right: float(left > right),
    ">=": lambda left, right: float(left >= right),
    "AND": lambda left, right: float(bool(left) and bool(right)),
    "&&": lambda left, right: float(bool(left) and bool(right)),
    "OR": lambda left, right: float(bool(left) or bool(right)),
    "||": lambda left, right: float(bool(left) or bool(right)),
}


def _reduced(reduce: Callable[[Sequence[float]], float]) -> Function:
    """Of one series a number; of several, a series across them."""

    def function(arguments: list[Any], grid: range) -> Value:
        (argument,) = arguments
        if isinstance(argument, dict):
            return reduce(list(argument.values())) if argument else math.nan
        if not isinstance(argument, list):
            raise TypeError(argument)
        times = sorted({at for series in argument if isinstance(series, dict) for at in series})
        numbers = [one for one in argument if not isinstance(one, dict)]
        across = {at: [one[at] for one in argument if isinstance(one, dict) and at in one] for at in times}
        return {at: reduce(values + numbers) for at, values in across.items()}

    return function


def _each(compute: Callable[[float], float]) -> Function:
    def function(arguments: list[Any], grid: range) -> Value:
        (argument,) = arguments
        if isinstance(argument, list):
            return [function([one], grid) for one in argument]
        if isinstance(argument, dict):
            return {at: compute(value) for at, value in argument.items()}
        return compute(argument)

    return function


def _along(step: Callable[[Series, range], Series]) -> Function:
    def function(arguments: list[Any], grid: range) -> Value:
        (argument,) = arguments
        if isinstance(argument, list):
            return [function([one], grid) for one in argument]
        return step(argument, grid)

    return function


def _changes(per_second: bool) -> Callable[[Series, range], Series]:
    def step(series: Series, grid: range) -> Series:
        return {
            then: (series[then] - series[before]) / ((then - before) if per_second else 1)
            for before, then in pairwise(series)
        }

    return step


def _running_sum(series: Series, grid: range) -> Series:
    return dict(zip(series, accumulate(series.values()), strict=True))


def _fill(arguments: list[Any], grid: range) -> Value:
    """FILL(series, number | REPEAT | LINEAR): values for the periods that have none; the last two need a value before
    the gap, LINEAR one after it, too."""
    series, filler = arguments
    if isinstance(series, list):
        return [_fill([one, filler], grid) for one in series]
    times = sorted(series)
    filled: Series = {}
    for at in grid:
        place = bisect_right(times, at)  # how many have a value up to here
        before, after = times[place - 1 : place], times[place : place + 1]
        if before == [at]:
            filled[at] = series[at]
        elif filler not in ("REPEAT", "LINEAR"):
            filled[at] = float(filler)
        elif before and filler == "REPEAT":
            filled[at] = series[before[0]]
        elif before and after:
            share = (at - before[0]) / (after[0] - before[0])
            filled[at] = series[before[0]] + share * (series[after[0]] - series[before[0]])
    return filled


def _if(arguments: list[Any], grid: range) -> Value:
    """IF(condition, when true, otherwise): without the third, times at which it is false are left out."""
    condition, yes, no = [*arguments, None] if len(arguments) == 2 else arguments
    if not isinstance(condition, dict):
        chosen: Value = yes if condition else ({} if no is None else no)
        return chosen
    picked: Series = {}
    for at, holds in condition.items():
        source = yes if holds else no
        value = source.get(at) if isinstance(source, dict) else source
        if value is not None:
            picked[at] = value
    return picked


def _period(arguments: list[Any], grid: range) -> Value:
    (_,) = arguments
    return float(grid.step)


FUNCTIONS: dict[str, Function] = {
    "SUM": _reduced(sum),
    "AVG": _reduced(statistics.fmean),
    "MIN": _reduced(min),
    "MAX": _reduced(max),
    "STDDEV": _reduced(statistics.pstdev),
    "DATAPOINT_COUNT": _reduced(len),
    "ABS": _each(abs),
    "CEIL": _each(math.ceil),
    "FLOOR": _each(math.floor),
    "LOG": _each(math.log),
    "LOG10": _each(math.log10),
    "RATE": _along(_changes(per_second=True)),
    "DIFF": _along(_changes(per_second=False)),
    "RUNNING_SUM": _along(_running_sum),
    "FILL": _fill,
    "IF": _if,
    "PERIOD": _period,
}
