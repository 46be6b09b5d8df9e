"""A query's text to what it does: the commands of CloudWatch Logs Insights (user guide, "CWL query syntax").

Built: fields, display, filter, stats, sort, limit, parse, dedup. The others are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from preheat.services.logs.insights.commands import (
    MAX_ROWS,
    Command,
    Dedup,
    Filter,
    Limit,
    Make,
    Parse,
    Sort,
    Stats,
)
from preheat.services.logs.insights.expressions import Evaluate, Expression, ExpressionParser, Row, squeezed
from preheat.services.logs.insights.records import Record
from preheat.services.logs.insights.scanner import Scanner, malformed, not_built

_ELSEWHERE = frozenset(
    {
        *("pattern", "diff", "anomaly", "unmask", "unnest", "expand", "join", "lookup", "addtotals", "source"),
        *("search", "tail", "relevantfields"),
    }
)
_DEFAULT_FIELDS = ("@timestamp", "@message")


@dataclass(slots=True)
class Counts:
    """`matched`: events that every filter before the first `stats`, `sort`, `limit` or `dedup` let pass."""

    matched: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    each: list[Command]
    """Commands on single events, up to the first that needs several."""
    then: list[Command]
    columns: list[str]
    with_pointer: bool

    def run(self, records: Iterable[Record], counts: Counts) -> list[Row]:
        rows: Iterator[Row] = (Row(record) for record in records)
        for command in self.each:
            rows = iter(command.apply(rows))
        rows = _counted(rows, counts)
        for command in self.then:
            rows = iter(command.apply(rows))
        return list(rows)


def _counted(rows: Iterator[Row], counts: Counts) -> Iterator[Row]:
    for row in rows:
        counts.matched += 1
        yield row


def parse(text: str, limit: int | None = None) -> Query:
    """Compile a query; `limit` is StartQuery's. Raises AwsError MalformedQueryException with the place."""
    return _Parser(text, limit or MAX_ROWS).query()


class _Parser:
    def __init__(self, text: str, limit: int) -> None:
        self._scanner = Scanner(text)
        self._expressions = ExpressionParser(self._scanner)
        self._limit = min(limit, MAX_ROWS)
        self._commands: list[Command] = []
        self._shown: list[str] = []
        self._parsed: list[str] = []
        self._displayed: list[str] | None = None
        self._aggregated = False
        self._readers: dict[str, Callable[[], None]] = {
            "fields": self._fields,
            "display": self._display,
            "filter": self._filter,
            "filterindex": self._filter,
            "stats": self._stats,
            "sort": self._sort,
            "order": self._sort,
            "limit": self._read_limit,
            "head": self._read_limit,
            "parse": self._parse,
            "dedup": self._dedup,
        }

    def query(self) -> Query:
        while True:
            self._command()
            if self._scanner.peek().kind == "end":
                break
            self._expressions.expect("|")
        self._commands.append(Limit(self._limit))
        self._sort_newest_first()
        self._bound_sorts()
        several = (Stats, Sort, Limit, Dedup)
        first = next(place for place, command in enumerate(self._commands) if isinstance(command, several))
        return Query(self._commands[:first], self._commands[first:], self._columns(), not self._aggregated)

    def _command(self) -> None:
        token = self._scanner.peek()
        name = token.text.lower() if token.kind == "name" else ""
        if name in _ELSEWHERE:
            raise not_built(f"The command {name}")
        reader = self._readers.get(name)
        after_dedup = bool(self._commands) and isinstance(self._commands[-1], Dedup)
        if reader is None or (after_dedup and name not in ("limit", "head")):  # seen on AWS in 2026
            raise self._scanner.unexpected()
        self._scanner.take()
        reader()

    def _columns(self) -> list[str]:
        if self._displayed is not None:
            return self._displayed
        shown = self._shown or ([] if self._aggregated else list(_DEFAULT_FIELDS))
        return list(dict.fromkeys([*shown, *self._parsed]))

    def _sort_newest_first(self) -> None:
        """Events come newest first where the query does not say otherwise."""
        for place, command in enumerate(self._commands):
            if isinstance(command, Stats | Sort):
                return
            if isinstance(command, Limit | Dedup):
                self._commands.insert(place, Sort([(lambda row: row.get("@timestamp"), True)]))
                return

    def _bound_sorts(self) -> None:
        """A sort holds no more rows than the limit behind it lets through."""
        for command, behind in zip(self._commands, self._commands[1:], strict=False):
            if isinstance(command, Sort) and isinstance(behind, Limit):
                command.keep = behind.count

    # commands

    def _listed(self) -> Iterator[Expression]:
        yield self._expressions.expression()
        while self._expressions.accept(","):
            yield self._expressions.expression()

    def _named(self, expression: Expression) -> str:
        """The name behind `as`, or the expression's own."""
        if not self._expressions.accept("as"):
            return expression.name
        return self._name()

    def _name(self) -> str:
        token = self._scanner.peek()
        if token.kind not in ("name", "quoted"):
            raise self._scanner.unexpected()
        return self._scanner.take().text

    def _fields(self) -> None:
        made: list[tuple[str, Evaluate]] = []
        for expression in self._listed():
            name = self._named(expression)
            if name != expression.name or not expression.is_field:
                made.append((name, expression.evaluate))
            if name not in self._shown:
                self._shown.append(name)
        if made:
            self._commands.append(Make(made))

    def _display(self) -> None:
        made: list[tuple[str, Evaluate]] = []
        self._displayed = []
        for expression in self._listed():
            name = self._named(expression)
            if name != expression.name or not expression.is_field:
                made.append((name, expression.evaluate))
            self._displayed.append(name)
        if made:
            self._commands.append(Make(made))

    def _filter(self) -> None:
        self._commands.append(Filter(self._expressions.expression().evaluate))

    def _stats(self) -> None:
        expressions = self._expressions
        results: list[tuple[str, Evaluate]] = []
        by: list[tuple[str, Evaluate]] = []
        slots = expressions.slots = []
        while True:
            expression = expressions.expression()
            results.append((self._named(expression), expression.evaluate))
            if not expressions.accept(","):
                break
        expressions.slots = None
        expressions.accept("group")  # `group by` is `by`
        if expressions.accept("by"):
            by = [(self._named(expression), expression.evaluate) for expression in self._listed()]
        self._commands.append(Stats(slots, results, by))
        names = [name for name, _ in [*by, *results]]
        expressions.columns = {squeezed(name): name for name in names}
        self._shown, self._parsed, self._displayed = names, [], None
        self._aggregated = True

    def _sort(self) -> None:
        self._expressions.accept("by")
        descending = self._expressions.accept
        keys = [(one.evaluate, descending("asc", "desc") == "desc") for one in self._listed()]
        self._commands.append(Sort(keys))

    def _read_limit(self) -> None:
        self._expressions.accept("any")
        token = self._scanner.peek()
        if token.kind != "number" or not token.text.isdecimal() or not 0 < int(token.text) <= MAX_ROWS:
            raise self._scanner.unexpected()
        self._scanner.take()
        self._commands.append(Limit(int(token.text)))

    def _dedup(self) -> None:
        self._commands.append(Dedup([expression.evaluate for expression in self._listed()]))

    def _parse(self) -> None:
        source: Evaluate = lambda row: row.get("@message")  # noqa: E731 - where none is named
        pattern = self._scanner.regex()
        if pattern is None and self._scanner.peek().kind != "string":
            name = self._name()
            source = lambda row: row.get(name)  # noqa: E731
            pattern = self._scanner.regex()
        start = self._scanner.peek()
        if pattern is None:
            if start.kind != "string":
                raise self._scanner.unexpected()
            pattern = _glob(self._scanner.take().text)
        names = list(pattern.groupindex)
        if self._expressions.accept("as"):
            names = [self._name()]
            while self._expressions.accept(","):
                names.append(self._name())
        if not names or len(names) != pattern.groups:
            message = f"the pattern has {pattern.groups} parts to extract and {len(names)} names for them"
            raise malformed(message, self._scanner.query, start.start, start.end)
        self._parsed += [name for name in names if name not in self._parsed]
        self._commands.append(Parse(source, pattern, names))


def _glob(pattern: str) -> re.Pattern[str]:
    """Each `*` as short as may be; one at the end takes the rest of the message."""
    *parts, last = pattern.split("*")
    regex = "(.*?)".join(map(re.escape, [*parts, last]))
    if parts and not last:
        regex += r"\n?\Z"
    return re.compile(regex, re.DOTALL)
