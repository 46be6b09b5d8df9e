"""What becomes of an asynchronous invocation, decided purely (developer guide, "asynchronous invocation").

A function's own failure is tried again twice, after one and two minutes; a throttle or a fault of the service
after 1 s and then with doubled waits up to 5 minutes, for as long as the event's age allows (6 hours).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from preheat.kernel.function import InvokeResult
from preheat.kernel.loglines import iso_ms
from preheat.services.lambda_.attachments import EventInvoke
from preheat.services.lambda_.events import Event, tried

DEFAULT_RETRIES = 2
DEFAULT_AGE_S = 21_600
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 300.0
_MAX_ERROR_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """One function's settings; `retry_s` is the wait before the first retry, the second waits twice as long."""

    max_retries: int = DEFAULT_RETRIES
    max_age_s: int = DEFAULT_AGE_S
    retry_s: float = 60.0


def rules(config: EventInvoke | None, retry_s: float) -> Rules:
    if config is None:
        return Rules(retry_s=retry_s)
    retries = DEFAULT_RETRIES if config.max_retries is None else config.max_retries
    return Rules(retries, config.max_age_s or DEFAULT_AGE_S, retry_s)


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing more is tried. `condition` is what the destination's record says."""

    event: Event
    condition: str


def too_old(event: Event, rules: Rules, now_ms: int) -> bool:
    return now_ms - event.accepted_ms >= rules.max_age_s * 1000


def after_result(event: Event, result: InvokeResult, rules: Rules, now_ms: int) -> Event | Over:
    """The event to try again at its `due_ms`, or its end."""
    after = tried(event, result.payload, result.executed_version)
    if result.function_error is None:
        return Over(after, "Success")
    if after.attempts > rules.max_retries:
        return Over(after, "RetriesExhausted")
    return _due(after, now_ms + int(rules.retry_s * 1000) * after.attempts, rules)


def after_refusal(event: Event, rules: Rules, now_ms: int) -> Event:
    """Throttled, or not yet able to run: it does not count as an attempt."""
    wait_s = min(_FIRST_BACKOFF_S * 2 ** min(event.refusals, 16), _LONGEST_BACKOFF_S)
    return _due(replace(event, refusals=event.refusals + 1), now_ms + int(wait_s * 1000), rules)


def _due(event: Event, due_ms: int, rules: Rules) -> Event:
    """No event waits past its greatest age: then it is given up."""
    return replace(event, due_ms=min(due_ms, event.accepted_ms + rules.max_age_s * 1000))


def record(over: Over, function_arn: str, function_error: str | None, now_ms: int) -> bytes:
    """What a destination receives (developer guide, "invocation record")."""
    event = over.event
    document: dict[str, Any] = {
        "version": "1.0",
        "timestamp": iso_ms(now_ms),
        "requestContext": {
            "requestId": event.id,
            "functionArn": f"{function_arn}:{event.qualifier or '$LATEST'}",
            "condition": over.condition,
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": json.loads(event.payload),
    }
    if event.attempts:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": event.executed_version}
        if function_error:
            context["functionError"] = function_error
        document["responseContext"] = context
        document["responsePayload"] = _json(event.result)
    return json.dumps(document, separators=(",", ":")).encode()


def bus_event(record: bytes, bus_arn: str, event_id: str, now_ms: int) -> bytes:
    """A record as EventBridge hands it on to whoever listens on a bus (recorded on AWS)."""
    detail = json.loads(record)
    context = detail["requestContext"]
    outcome = "Success" if context["condition"] == "Success" else "Failure"
    _, _, _, region, account_id, _ = bus_arn.split(":", 5)
    document = {
        "version": "0",
        "id": event_id,
        "detail-type": f"Lambda Function Invocation Result - {outcome}",
        "source": "lambda",
        "account": account_id,
        "time": f"{iso_ms(now_ms)[:19]}Z",
        "region": region,
        "resources": [bus_arn, context["functionArn"]],
        "detail": detail,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def dead_letter_attributes(event: Event) -> dict[str, dict[str, str]]:
    """The message attributes of a dead letter, whose body is the event itself (recorded on AWS)."""
    error = _json(event.result)
    message = error.get("errorMessage", "") if isinstance(error, dict) else ""
    return {
        "RequestID": {"DataType": "String", "StringValue": event.id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200" if event.attempts else "429"},
        "ErrorMessage": {"DataType": "String", "StringValue": str(message)[:_MAX_ERROR_MESSAGE]},
    }


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
