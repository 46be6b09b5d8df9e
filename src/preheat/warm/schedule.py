"""When rounds are due, and what they came to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from preheat.kernel.errors import PreheatError
from preheat.warm.rounds import Round

SCHEMA = 1
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")


def parse_duration(text: str, option: str) -> float:
    """Seconds of "90s", "5m", "1h30m" or a bare number of seconds; raises PreheatError 252 naming the option."""
    parts = _PART.findall(text)
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not parts or "".join(number + unit for number, unit in parts) != text or total_s <= 0:
        raise PreheatError(f"{option} {text}: give a time such as 90s, 5m or 1h30m", 252)
    return total_s


def due(every_s: float, for_s: float | None, now: Callable[[], float], wait: Callable[[float], None]) -> Iterator[int]:
    """Yield a round's number each time one is due: at once, then every `every_s` from the start on. Rounds that a
    slow one overran are left out; none starts at `for_s` or later."""
    began, slot, number = now(), 0, 0
    while for_s is None or slot * every_s < for_s:
        delay_s = began + slot * every_s - now()
        if delay_s > 0:
            wait(delay_s)
        number += 1
        yield number
        slot = max(slot + 1, int((now() - began) // every_s))


@dataclass(slots=True)
class Summary:
    """What a schedule came to so far."""

    began: float = field(default_factory=time.time)
    rounds: int = 0
    invocations: int = 0
    cold: int = 0
    failed: int = 0
    refused: int = 0
    fewest: int | None = None
    """Of environments that answered one round."""

    def add(self, done: Round) -> None:
        self.rounds += 1
        self.invocations += len(done.answers)
        self.cold += done.cold
        self.failed += done.failed
        self.refused += sum(done.refused.values())
        if not done.unknown:
            self.fewest = done.environments if self.fewest is None else min(self.fewest, done.environments)

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": "summary",
            "schema": SCHEMA,
            "seconds": round(time.time() - self.began, 1),
            "rounds": self.rounds,
            "invocations": self.invocations,
            "cold": self.cold,
            "failed": self.failed,
            "refused": self.refused,
            "fewest_environments": self.fewest,
        }
