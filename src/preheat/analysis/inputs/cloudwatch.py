"""CloudWatch's log events in the forms people have them: console and Logs Insights CSV, JSON of the API and the CLI,
JSON lines, text of `aws logs tail` and of exports to S3."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from preheat.analysis.inputs import cloudwatch_text
from preheat.analysis.inputs.lambda_lines import Event
from preheat.analysis.inputs.text import epoch_ms

TIMES = ("@timestamp", "timestamp", "time", "eventtime", "date")
MESSAGES = ("@message", "message", "log", "event")
STREAMS = ("@logstream", "logstreamname", "logstream", "log_stream", "stream")
_FIGURES = ("@duration", "@billedduration")
LONGEST = 4 << 20
"""Characters of a message: an event has up to 1 MB (docs.aws.amazon.com/AmazonCloudWatch, "CloudWatch Logs quotas"),
more than Python's csv takes unless told."""
_DECODER = json.JSONDecoder()
_PREAMBLE = re.compile(r"\A\ufeff?(?:sep=.|#TYPE [^\n]*)\n")
"""What Excel and PowerShell write above a CSV's header."""
_LAMBDAS = re.compile(r"\s*(?:(?:INIT_)?REPORT |(?:INIT_)?START |END RequestId: |RESTORE_)|.*\"platform\\.", re.DOTALL)
_KNOWN = re.compile(r'REPORT RequestId: |INIT_REPORT Init|START RequestId: |"platform\.(?:report|start|init)')


def looks_like(text: str) -> bool:
    """Whether the text holds log events of a function, in any of the forms."""
    first = _PREAMBLE.sub("", text[:4000]).lstrip("\ufeff").split("\n", 1)[0].lower()
    names = {name.strip(' "').lower() for name in re.split("[,;\t]", first)}
    if names & set(TIMES) and names & {*MESSAGES, *_FIGURES} and "user count" not in names:
        return True
    return _KNOWN.search(text[:2_000_000]) is not None


def read(text: str) -> tuple[list[Event], int]:
    """(events, rows that could not be read)."""
    text = _PREAMBLE.sub("", text).lstrip("\ufeff")
    head = text[:1].strip() or text.lstrip()[:1]
    if head in ("{", "["):
        return _json(text)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    names = [name.strip(' "').lower() for name in first.split(delimiter)]
    if set(names) & set(TIMES) and set(names) & {*MESSAGES, *_FIGURES}:
        return _csv(text, names, delimiter)
    if re.match(r'"?\d{13}"?,', first):
        return _csv("timestamp,message\n" + text, ["timestamp", "message"], ",")
    return list(cloudwatch_text.events(text)), 0


def _csv(text: str, names: list[str], delimiter: str) -> tuple[list[Event], int]:
    before = csv.field_size_limit(LONGEST)
    try:
        return _rows(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), names)
    finally:
        csv.field_size_limit(before)


def _rows(reader: Iterator[list[str]], names: list[str]) -> tuple[list[Event], int]:
    next(reader, None)
    at = _column(names, TIMES)
    message, stream = _column(names, MESSAGES), _column(names, STREAMS)
    events: list[Event] = []
    bad = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return events, bad
        except csv.Error:
            bad += 1
            continue
        if not row:
            continue
        at_ms = epoch_ms(row[at]) if at is not None and at < len(row) else None
        words = row[message] if message is not None and message < len(row) else _from_figures(names, row)
        if at_ms is None and _LAMBDAS.match(words) is None:
            bad += not words  # a handler's own line without a time is of no use, but can be read
            continue
        name = row[stream] if stream is not None and stream < len(row) else ""
        events.append(Event(math.nan if at_ms is None else at_ms, words, name))


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _from_figures(names: list[str], row: list[str]) -> str:
    """A query for fields without `@message` gives the figures alone (`@memorySize` is in bytes): as the line."""
    found = {name: value for name, value in zip(names, row, strict=False) if value}
    if "@duration" not in found:
        return ""
    memory, used = (_megabytes(found.get(name, "")) for name in ("@memorysize", "@maxmemoryused"))
    line = f"REPORT RequestId: {found.get('@requestid', '-')}\tDuration: {found['@duration']} ms\t"
    line += f"Billed Duration: {found.get('@billedduration', found['@duration'])} ms\tMemory Size: {memory} MB\t"
    line += f"Max Memory Used: {used} MB\t"
    return line + (f"Init Duration: {found['@initduration']} ms\t" if "@initduration" in found else "")


def _megabytes(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        return 0
    return round(value / 1e6 if value > 1e5 else value)


def _json(text: str) -> tuple[list[Event], int]:
    """One document, or one on each line."""
    try:
        return list(_document(json.loads(text))), 0
    except ValueError:
        pass
    events: list[Event] = []
    bad = 0
    for line in text.split("\n"):
        rest = line.strip()
        while rest:  # Firehose writes one document behind the other
            try:
                document, end = _DECODER.raw_decode(rest)
            except ValueError:
                found = list(cloudwatch_text.events(rest))
                events += found
                bad += not found
                break
            events += _document(document)
            rest = rest[end:].lstrip()
    return events, bad


def _document(data: Any, stream: str = "") -> Iterator[Event]:
    if isinstance(data, list):
        if data and all(isinstance(item, dict) and "field" in item for item in data):
            data = {str(item["field"]): item.get("value", "") for item in data}  # a row of a Logs Insights result
        elif (row := _row(data)) is not None:
            yield row
            return
        else:
            for item in data:
                yield from _document(item, stream)
            return
    if isinstance(data, str) and _LAMBDAS.match(data):
        yield Event(math.nan, data, stream)
    if not isinstance(data, dict):
        return
    inner = next((data[key] for key in ("events", "logEvents", "results", "payload") if key in data), None)
    if isinstance(inner, list):
        for item in inner:
            yield from _document(item, str(data.get("logStream", "")))
        return
    if str(data.get("type", "")).startswith("platform."):
        yield Event(epoch_ms(str(data.get("time", ""))) or math.nan, json.dumps(data, ensure_ascii=False), stream)
        return
    yield from _event(data, stream)


def _row(values: list[Any]) -> Event | None:
    """The event in the cells of `--query 'events[].[timestamp,message]'`, in any order; None where it is no such
    row."""
    if len(values) > 4 or not all(isinstance(value, str | int | float) for value in values):
        return None
    times = [at_ms for value in values if (at_ms := epoch_ms(str(value))) is not None]
    words = [value for value in values if isinstance(value, str) and _LAMBDAS.match(value)]
    return Event(times[0], words[0]) if len(times) == 1 and len(words) == 1 else None


def _event(data: Mapping[str, Any], stream: str) -> Iterator[Event]:
    lower = {key.lower(): value for key, value in data.items()}
    at = next((lower[name] for name in TIMES if name in lower), "")
    message = next((lower[name] for name in MESSAGES if name in lower), None)
    if message is None:
        names = [name for name in lower if name.startswith("@")]
        message = _from_figures(names, [str(lower[name]) for name in names])
    if not message and (row := _row(list(data.values()))) is not None:  # under names of somebody's own
        yield row
        return
    stream = next((str(lower[name]) for name in STREAMS if name in lower), stream)
    words = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    if words:
        at_ms = epoch_ms(str(at))
        yield Event(math.nan if at_ms is None else at_ms, words, stream)
