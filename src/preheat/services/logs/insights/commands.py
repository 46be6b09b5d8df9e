"""What a query does to rows, command by command."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import total_ordering
from itertools import islice
from typing import Any, Protocol

from preheat.services.logs.insights import aggregates
from preheat.services.logs.insights.expressions import Evaluate, Row, Slot
from preheat.services.logs.insights.values import Instant, Value, order, text, truth

MAX_ROWS = 10_000
"""The most rows a query returns, and how many it returns without a limit (user guide, "limit")."""


class Command(Protocol):
    def apply(self, rows: Iterator[Row]) -> Iterable[Row]: ...


@dataclass(frozen=True, slots=True)
class Filter:
    condition: Evaluate

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        condition = self.condition
        return (row for row in rows if truth(condition(row)))


@dataclass(frozen=True, slots=True)
class Make:
    """`fields`: values under names of their own, each seeing those before it."""

    fields: Sequence[tuple[str, Evaluate]]

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        for row in rows:
            for name, evaluate in self.fields:
                row.made[name] = evaluate(row)
            yield row


@dataclass(frozen=True, slots=True)
class Parse:
    """The groups of a pattern as fields; rows that it does not match go on without them."""

    source: Evaluate
    pattern: re.Pattern[str]
    names: Sequence[str]

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        for row in rows:
            value = self.source(row)
            match = None if value is None else self.pattern.search(text(value))
            if match is not None:
                row.made.update(zip(self.names, match.groups(), strict=True))
            yield row


@total_ordering
class _Descending:
    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.key == other.key)

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.key < self.key)


@dataclass(slots=True)
class Sort:
    """By (expression, descending) in turn; only the first `keep` rows are held."""

    keys: Sequence[tuple[Evaluate, bool]]
    keep: int | None = None

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        def key(row: Row) -> tuple[Any, ...]:
            found = ((order(evaluate(row)), descending) for evaluate, descending in self.keys)
            return tuple(_Descending(one) if descending else one for one, descending in found)

        return sorted(rows, key=key) if self.keep is None else heapq.nsmallest(self.keep, rows, key=key)


@dataclass(frozen=True, slots=True)
class Limit:
    count: int

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        return islice(rows, self.count)


@dataclass(frozen=True, slots=True)
class Dedup:
    """The first row of each combination; rows without one of the fields are kept, as AWS does with nulls."""

    fields: Sequence[Evaluate]

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        seen: set[tuple[Any, ...]] = set()
        for row in rows:
            values = [evaluate(row) for evaluate in self.fields]
            key = tuple(order(value) for value in values)
            if None not in values and key in seen:
                continue
            seen.add(key)
            yield row


@dataclass(slots=True)
class _Group:
    values: list[Value]
    aggregates: list[aggregates.Aggregate]


@dataclass(frozen=True, slots=True)
class Stats:
    """One row for each group: `by` are its columns, then `results`, worked out of the aggregates in `slots`."""

    slots: Sequence[Slot]
    results: Sequence[tuple[str, Evaluate]]
    by: Sequence[tuple[str, Evaluate]]

    def apply(self, rows: Iterator[Row]) -> Iterable[Row]:
        groups: dict[tuple[Any, ...], _Group] = {}
        for row in rows:
            for name, evaluate in self.by:
                row.made[name] = evaluate(row)
            values = [row.made[name] for name, _ in self.by]
            key = tuple(order(value) for value in values)
            group = groups.get(key)
            if group is None:
                made = [aggregates.make(slot.function, slot.percent) for slot in self.slots]
                group = groups[key] = _Group(values, made)
            at_ms = row.record.timestamp_ms if row.record else 0
            for slot, aggregate in zip(self.slots, group.aggregates, strict=True):
                aggregate.feed(slot.argument(row), at_ms)
        return [self._row(group) for group in _newest_first(list(groups.values()))]

    def _row(self, group: _Group) -> Row:
        row = Row(None, dict(zip((name for name, _ in self.by), group.values, strict=True)))
        for slot, aggregate in zip(self.slots, group.aggregates, strict=True):
            row.made[slot.name] = aggregate.result()
        for name, evaluate in self.results:
            row.made[name] = evaluate(row)
        for slot in self.slots:
            del row.made[slot.name]
        return row


def _newest_first(groups: list[_Group]) -> list[_Group]:
    """Groups by time in descending order of it; others as they were met."""
    for place, value in enumerate(groups[0].values if groups else ()):
        if isinstance(value, Instant):
            return sorted(groups, key=_at(place), reverse=True)
    return groups


def _at(place: int) -> Callable[[_Group], Any]:
    return lambda group: order(group.values[place])
