"""Expressions of the query language, compiled to closures over rows."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from preheat.services.logs.insights import aggregates, periods
from preheat.services.logs.insights.functions import FUNCTIONS
from preheat.services.logs.insights.records import Record, select
from preheat.services.logs.insights.scanner import Scanner, Token, malformed
from preheat.services.logs.insights.values import Value, number, order, same, text, truth

_DEPTH_MAX = 60
_COMPARISONS = ("=", "==", "!=", "<", "<=", ">", ">=")


@dataclass(slots=True)
class Row:
    """What a command passes on: an event (none after `stats`) and the fields made so far."""

    record: Record | None
    made: dict[str, Value] = field(default_factory=dict)

    def get(self, name: str) -> Value:
        if name in self.made:
            return self.made[name]
        found = None if self.record is None else self.record.get(name)
        if found is None and self.made:
            head, dot, rest = name.partition(".")
            if dot and isinstance(self.made.get(head), dict | list):
                return select(self.made[head], rest)
        return found


Evaluate = Callable[[Row], Value]


@dataclass(frozen=True, slots=True)
class Expression:
    """`name` is its column's unless it gets another: the field's, or else the expression as written."""

    evaluate: Evaluate
    name: str
    is_field: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """One aggregate call of a `stats` command: its result is in the row under `name` when the rest is worked out."""

    name: str
    function: str
    argument: Evaluate
    percent: float


class ExpressionParser:
    """From loose to tight: or, and, not, comparisons, + -, * / %, ^, sign, operand.

    `columns` are the names that `stats` has given so far: `avg(@duration)` after it means the column of that name.
    """

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.columns: dict[str, str] = {}
        self.slots: list[Slot] | None = None
        """Where aggregate calls are collected while a `stats` command is read; None where they are not allowed."""
        self._depth = 0

    def expression(self) -> Expression:
        first = self.scanner.peek()
        evaluate = self._either()
        if first.kind in ("name", "quoted") and self.scanner.end_of_last == first.end:
            return Expression(evaluate, first.text, True)
        return Expression(evaluate, self.scanner.query[first.start : self.scanner.end_of_last].strip(), False)

    def accept(self, *texts: str) -> str:
        """Take an operator or a word (in any case), if it comes next."""
        token = self.scanner.peek()
        if token.kind in ("name", "operator") and token.text.lower() in texts:
            self.scanner.take()
            return token.text.lower()
        return ""

    def expect(self, what: str) -> None:
        if not self.accept(what):
            raise self.scanner.unexpected()

    def _either(self) -> Evaluate:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise self.scanner.unexpected()
        left = self._both()
        while self.accept("or"):
            left = _either(left, self._both())
        self._depth -= 1
        return left

    def _both(self) -> Evaluate:
        left = self._negated()
        while self.accept("and"):
            left = _both(left, self._negated())
        return left

    def _negated(self) -> Evaluate:
        negations = 0
        while self.accept("not"):
            negations += 1
        inner = self._compared()
        return (lambda row: not truth(inner(row))) if negations % 2 else inner

    def _compared(self) -> Evaluate:
        left = self._sum()
        if sign := self.accept(*_COMPARISONS):
            return _comparison(sign, left, self._sum())
        negative = bool(self.accept("not"))
        if self.accept("like", "=~"):
            found = self._like(left)
        elif self.accept("in"):
            found = self._member(left)
        elif negative:
            raise self.scanner.unexpected()
        else:
            return left
        return (lambda row: not found(row)) if negative else found

    def _like(self, left: Evaluate) -> Evaluate:
        pattern = self.scanner.regex()
        if pattern is not None:
            search = pattern.search
            return lambda row: (value := left(row)) is not None and search(text(value)) is not None
        part = self._sum()
        return lambda row: (value := left(row)) is not None and text(part(row)) in text(value)

    def _member(self, left: Evaluate) -> Evaluate:
        end = "]" if self.accept("[") else ")"
        if end == ")":
            self.expect("(")
        options: list[Evaluate] = []
        while not self.accept(end):
            if options:
                self.expect(",")
            options.append(self._sum())

        def found(row: Row) -> bool:
            value = left(row)
            return any(same(value, option(row)) for option in options)

        return found

    def _sum(self) -> Evaluate:
        left = self._product()
        while sign := self.accept("+", "-"):
            left = _arithmetic(sign, left, self._product())
        return left

    def _product(self) -> Evaluate:
        left = self._power()
        while sign := self.accept("*", "/", "%"):
            left = _arithmetic(sign, left, self._power())
        return left

    def _power(self) -> Evaluate:
        if self.accept("-"):
            self._depth += 1
            if self._depth > _DEPTH_MAX:
                raise self.scanner.unexpected()
            inner = self._power()
            self._depth -= 1
            return _arithmetic("-", lambda row: 0, inner)
        base = self._operand()
        return _arithmetic("^", base, self._power()) if self.accept("^") else base

    def _operand(self) -> Evaluate:
        if self.accept("("):
            inner = self._either()
            self.expect(")")
            return inner
        token = self.scanner.peek()
        if token.kind not in ("number", "string", "name", "quoted"):
            raise self.scanner.unexpected()
        self.scanner.take()
        if token.kind == "number":
            constant: Value = float(token.text) if "." in token.text else int(token.text)
            return lambda row: constant
        if token.kind == "string":
            return lambda row: token.text
        if token.kind == "name" and token.text.lower() in ("true", "false"):
            return lambda row: token.text.lower() == "true"
        if token.kind == "name" and self.accept("("):
            return self._call(token)
        name = token.text
        return lambda row: row.get(name)

    # calls

    def _call(self, name: Token) -> Evaluate:
        function = name.text.lower()
        if function == "bin":
            found = self._rounded(periods.floor, lambda row: row.get("@timestamp"))
        elif function in ("datefloor", "dateceil"):
            moment = self._sum()
            self.expect(",")
            found = self._rounded(periods.floor if function == "datefloor" else periods.ceil, moment)
        elif function in aggregates.NAMES:
            return self._aggregate(function, name)
        elif function in FUNCTIONS:
            found = self._plain(function, name)
        else:
            raise self._wrong(f"unexpected symbol found {name.text}", name)
        return self._or_column(found, name)

    def _or_column(self, found: Evaluate, name: Token) -> Evaluate:
        """The column that `stats` made of the very same call, where there is one."""
        column = self.columns.get(squeezed(self.scanner.query[name.start : self.scanner.end_of_last]))
        return found if column is None else lambda row: row.get(column)

    def _rounded(self, rounding: Callable[[int, periods.Period], Value], moment: Evaluate) -> Evaluate:
        token = self.scanner.take()
        length = periods.parse(token.text)
        if length is None:
            raise self._wrong(f"unexpected symbol found {token.text}: a length of time such as 5m is wanted", token)
        self.expect(")")

        def rounded(row: Row) -> Value:
            at_ms = number(moment(row))
            return None if at_ms is None else rounding(int(at_ms), length)

        return rounded

    def _arguments(self) -> list[Evaluate]:
        arguments: list[Evaluate] = []
        while not self.accept(")"):
            if arguments:
                self.expect(",")
            arguments.append(self._either())
        return arguments

    def _plain(self, function: str, name: Token) -> Evaluate:
        arguments = self._arguments()
        compute, fewest, most = FUNCTIONS[function]
        if not fewest <= len(arguments) <= most:
            raise self._wrong(f"wrong number of arguments for {name.text}", name)
        return lambda row: compute(*(argument(row) for argument in arguments))

    def _aggregate(self, function: str, name: Token) -> Evaluate:
        slots, self.slots = self.slots, None  # an aggregate of an aggregate is an error
        percent = 50.0
        argument: Evaluate = lambda row: True  # noqa: E731 - what count(*) counts
        if not (function == "count" and (self.accept("*") or self._at_end())):
            argument = self._either()
            if function in ("pct", "percentile"):
                self.expect(",")
                percent = self._percent()
        self.expect(")")
        self.slots = slots
        column = self.columns.get(squeezed(self.scanner.query[name.start : self.scanner.end_of_last]))
        if slots is None:
            if column is None:
                raise self._wrong(f"unexpected symbol found {name.text}", name)
            return lambda row: row.get(column)
        slot = Slot(f"\0{len(slots)}", function, argument, percent)
        slots.append(slot)
        return lambda row: row.get(slot.name)

    def _at_end(self) -> bool:
        token = self.scanner.peek()
        return (token.kind, token.text) == ("operator", ")")

    def _percent(self) -> float:
        token = self.scanner.take()
        if token.kind != "number" or float(token.text) > 100:
            raise self._wrong(f"unexpected symbol found {token.text}: a percentage is wanted", token)
        return float(token.text)

    def _wrong(self, message: str, token: Token) -> Exception:
        return malformed(message, self.scanner.query, token.start, token.end)


def squeezed(written: str) -> str:
    """An expression without its blanks, to compare."""
    return re.sub(r"\s+", "", written)


def _either(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda row: truth(left(row)) or truth(right(row))


def _both(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda row: truth(left(row)) and truth(right(row))


_SIGNS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "^": operator.pow,
}


def _arithmetic(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    """Of numbers; a division by zero, or what is no number, has no result."""
    compute = _SIGNS[sign]

    def evaluate(row: Row) -> Value:
        first, second = number(left(row)), number(right(row))
        if first is None or second is None:
            return None
        try:
            found = compute(first + 0, float(second) if sign == "^" else second + 0)
        except (ArithmeticError, ValueError):
            return None
        return None if isinstance(found, complex) else found

    return evaluate


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _comparison(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    """False where either side is missing."""
    if sign in ("=", "=="):
        return lambda row: same(left(row), right(row))
    if sign == "!=":
        return lambda row: (a := left(row)) is not None and (b := right(row)) is not None and not same(a, b)
    compare = _ORDERS[sign]

    def evaluate(row: Row) -> bool:
        first, second = left(row), right(row)
        if first is None or second is None:
            return False
        first_number, second_number = number(first), number(second)
        if first_number is not None and second_number is not None:
            return compare(first_number, second_number)
        return compare(order(first), order(second))

    return evaluate
