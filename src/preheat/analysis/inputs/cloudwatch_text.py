"""Log events as text: `aws logs tail`, `sam logs`, `--output text` and `table` of the AWS CLI, exports to S3, and what
people copy from the console (as text, ASCII or Markdown table).

A line is an event where only times, streams and bars stand before Lambda's own word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from preheat.analysis.inputs.lambda_lines import Event
from preheat.analysis.inputs.text import epoch_ms

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?|\d{13}"
_STREAM = r"\d{4}/\d\d/\d\d/\S*\[[^\]\s]*\]\w+"
_BEFORE = rf'[\s|"]*(?:(?:EVENTS|\d{{30,}}|{_TIME}|{_STREAM})[\s|]+)*'
"""What tools put before the message: a time, a stream, the CLI's word EVENTS and the number of the event."""
_LINE = re.compile(
    rf"^({_BEFORE})((?:REPORT RequestId|INIT_REPORT Init|START RequestId|END RequestId|INIT_START|RESTORE_|\{{).*)$"
)
_NOTHING_ELSE = re.compile(rf"^{_BEFORE}$")
_BEHIND = re.compile(r".*?[\t|]\s*(\d{13})[\s|]*$")
_ALONE_BEHIND = re.compile(r"(?:\t|\s*\|)\s*(\d{13})[\s|]*$")
"""The CLI sorts its columns by name, so that `timestamp` stands behind the message, and behind its line feed."""


def events(text: str) -> Iterator[Event]:
    """The events of the text, in its order; nan where a line has no time. What is copied from the console has the time
    on a line of its own above."""
    above, stream_above = math.nan, ""
    pending: Event | None = None
    document: list[str] = []
    for line in _COLOURS.sub("", text).split("\n"):
        if document or line == "{":  # JSON over several lines, as `aws logs tail --format json` prints it
            document.append(line)
            if line == "}":
                yield Event(above, "\n".join(document), stream_above)
                document = []
            continue
        found = _LINE.match(line + " ")
        if found is not None:
            if pending is not None:
                yield pending
            at_ms, stream = _told(found[1])
            if math.isnan(at_ms) and not found[1].strip():
                at_ms, stream = above, stream or stream_above
            pending = Event(at_ms, _message(found[2]), stream)
        is_row = found is not None and ("EVENTS" in found[1] or "|" in found[1])
        behind = _BEHIND.match(line) if is_row else _ALONE_BEHIND.match(line) if found is None else None
        if behind is not None and pending is not None:  # a cell of the event's own row, and its last one
            yield replace(pending, at_ms=epoch_ms(behind[1]) or math.nan)
            pending = None
        elif found is None and line.strip() and _NOTHING_ELSE.match(line + " "):
            above, stream_above = _told(line)
    if pending is not None:
        yield pending


def _told(before: str) -> tuple[float, str]:
    """(time, stream) in what stands before a message; of two times the last."""
    stream = re.search(_STREAM, before)
    times = re.findall(_TIME, re.sub(rf"\d{{30,}}|{_STREAM}", "", before))
    at_ms = epoch_ms(times[-1]) if times else None
    return math.nan if at_ms is None else at_ms, stream[0] if stream else ""


def _message(text: str) -> str:
    """Without the bars and further cells of a table; Lambda's own lines have no bar in them."""
    return text.rstrip(' "|') if text.startswith("{") else text.split("|", 1)[0].rstrip(' "')
