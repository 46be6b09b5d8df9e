"""Access logs: one line per request, in the stage's own format, to a log group."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from preheat.kernel.function import LogSink
from preheat.kernel.http import HttpResponse
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.models import AccessLogSettings
from preheat.services.apigateway.refusals import Refusal, error_context
from preheat.services.apigateway.variables import substitute


class AccessLog:
    def __init__(self, logs: LogSink) -> None:
        self._logs = logs
        self._streams: set[tuple[str, str]] = set()

    def write(self, call: Call, response: HttpResponse, refusal: Refusal | None) -> None:
        """Write the line of a REST API's request, where the stage has a log."""
        settings = call.stage.source.access_log_settings
        if not isinstance(settings, AccessLogSettings) or not settings.destination_arn or not settings.format:
            return
        context = {**call.context(), **answered(response, call.started_ns)}
        if refusal is not None:
            context["error"] = {name: value or None for name, value in error_context(refusal).items()}
        stage = f"{call.stage.api_id}/{call.stage.name}"
        self.put(str(settings.destination_arn), str(settings.format), stage, context)

    def put(self, destination_arn: str, form: str, stage: str, context: Mapping[str, Any]) -> None:
        """Write one line to the stage's stream. Absent variables print as "-" (recorded)."""
        line = substitute(form, {"context": context}, missing="-")
        group = destination_arn.partition(":log-group:")[2].removesuffix(":*")
        stream = hashlib.md5(stage.encode(), usedforsecurity=False).hexdigest()
        if (group, stream) not in self._streams:
            self._logs.create_stream(group, stream)
            self._streams.add((group, stream))
        self._logs.put(group, stream, [(int(time.time() * 1000), line)])


def answered(response: HttpResponse, started_ns: int) -> dict[str, str]:
    """What `$context` knows once there is a response."""
    return {
        "status": str(response.status),
        "responseLength": str(len(response.body)),
        "responseLatency": str((time.monotonic_ns() - started_ns) // 1_000_000),
    }
