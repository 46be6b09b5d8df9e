"""Fetching a function's log events for the time of a run, from AWS or from the local cloud."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preheat.kernel.errors import PreheatError

LOCAL = "http://127.0.0.1:4566"
MARGIN_S = 120.0
"""Events this long before and after the run are fetched too: clocks differ, and logs come late."""
ZONES_S = 15 * 3600.0
"""Where the run's times are local ones, the log's may lie this far away."""


def fetch_logs(
    paths: Sequence[Path],
    folder: Path,
    function: str,
    *,
    target: str | None,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
) -> Path:
    """Write the events of `/aws/lambda/<function>` as JSON lines into `folder`; returns the file.

    Raises PreheatError: 252 where the paths hold no run, 253 without credentials, 254 where the service refuses.
    """
    start_s, end_s, info = _span(paths)
    target = target or str(info.get("target") or "local")
    if target == "local":
        endpoint_url = endpoint_url or str(info.get("endpoint_url") or LOCAL)
    client = _client(target, endpoint_url, region, profile)
    events = _events(client, f"/aws/lambda/{function}", start_s, end_s)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', function)}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            kept = {name: event[name] for name in ("timestamp", "message", "logStreamName") if name in event}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
    return path


def _span(paths: Sequence[Path]) -> tuple[float, float, dict[str, Any]]:
    """(begin, end, run.json) of the run, with the margins within which its events lie."""
    from preheat.analysis.run_folder import read_inputs

    run = read_inputs(paths, paths[0])
    rows = run.table.rows
    if not rows:
        raise PreheatError("there are no requests whose log could be fetched", 252)
    margin_s = ZONES_S if run.clock == "local" else MARGIN_S
    return rows[0].start_s - margin_s, max(row.end_s for row in rows) + margin_s, run.info


def _client(target: str, endpoint_url: str | None, region: str | None, profile: str | None) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(retries={"max_attempts": 8, "mode": "adaptive"})
    try:
        if target == "local":
            session = boto3.Session(
                aws_access_key_id="test", aws_secret_access_key="test", region_name=region or "us-east-1"
            )
            return session.client("logs", endpoint_url=endpoint_url, config=config)
        session = boto3.Session(profile_name=profile, region_name=region)
        return session.client("logs", config=config)
    except BotoCoreError as error:
        raise PreheatError(str(error), 253) from None


def _events(client: Any, group: str, start_s: float, end_s: float) -> Any:
    """All events in the order the service gives them, page by page."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    asked = {"logGroupName": group, "startTime": int(start_s * 1000), "endTime": int(end_s * 1000)}
    try:
        for page in client.get_paginator("filter_log_events").paginate(**asked):
            yield from page["events"]
    except NoCredentialsError as error:
        raise PreheatError(str(error), 253) from None
    except ClientError as error:
        raise PreheatError(f"{group}: {error.response['Error'].get('Message', error)}", 254) from None
    except BotoCoreError as error:
        raise PreheatError(str(error), 254) from None
