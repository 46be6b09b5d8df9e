"""X-Ray traces (`aws xray batch-get-traces`): an invocation is a segment `AWS::Lambda::Function`, cold where it has a
subsegment named Initialization (docs.aws.amazon.com/lambda, "Visualize Lambda function invocations using X-Ray")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from preheat.analysis.inputs.lambda_lines import NAN
from preheat.analysis.server_log import ERROR, OK, Report, ServerLog, build

_FUNCTION = "AWS::Lambda::Function"


def looks_like(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") and _FUNCTION in text


def read(text: str) -> ServerLog:
    """The traces' invocations as a log; billed time and memory are not in a trace."""
    try:
        data = json.loads(text)
    except ValueError:
        return build([], [], 1)
    return build([report for segment in _segments(data) if (report := _report(segment)) is not None], [])


def _segments(data: Any) -> Iterator[dict[str, Any]]:
    """Every segment document, wherever it stands; documents are JSON in a string."""
    if isinstance(data, list):
        for item in data:
            yield from _segments(item)
    elif isinstance(data, dict):
        if data.get("origin") == _FUNCTION:
            yield data
            return
        for key, value in data.items():
            if key == "Document" and isinstance(value, str):
                try:
                    yield from _segments(json.loads(value))
                except ValueError:
                    continue
            elif isinstance(value, list | dict):
                yield from _segments(value)


def _report(segment: dict[str, Any]) -> Report | None:
    start, end = segment.get("start_time"), segment.get("end_time")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return None
    parts = {part.get("name"): part for part in segment.get("subsegments", []) if isinstance(part, dict)}
    work = parts.get("Invocation", segment)
    is_bad = any(segment.get(name) for name in ("error", "fault"))
    return Report(
        at_ms=end * 1000,
        request_id=str(segment.get("aws", {}).get("request_id", "")),
        duration_ms=_length_ms(work),
        billed_ms=NAN,
        memory_mb=NAN,
        max_memory_mb=NAN,
        init_ms=_length_ms(parts["Initialization"]) if "Initialization" in parts else NAN,
        restore_ms=_length_ms(parts["Restore"]) if "Restore" in parts else NAN,
        status=ERROR if is_bad else OK,
        stream="",
    )


def _length_ms(part: dict[str, Any]) -> float:
    start, end = part.get("start_time"), part.get("end_time")
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return NAN
    return (end - start) * 1000
