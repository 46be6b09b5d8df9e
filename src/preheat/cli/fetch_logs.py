"""Fetching a function's log events for the time of a run, from AWS or from the local cloud."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preheat.kernel.errors import PreheatError

if TYPE_CHECKING:
    from preheat.deploy.target import Target

MARGIN_S = 120.0
"""Events this long before and after the run are fetched too: clocks differ, and logs come late."""
ZONES_S = 15 * 3600.0
"""Where the run's times are local ones, the log's may lie this far away."""
ATTEMPTS = 10
"""FilterLogEvents is throttled at five to ten calls a second for an account (docs.aws.amazon.com/AmazonCloudWatch,
"CloudWatch Logs quotas"): a long log needs patience."""


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

    Raises PreheatError: 252 where the paths hold no run, 253 without credentials, region or anyone answering, 254 where
    the service refuses or has no events of the run's time.
    """
    from preheat.deploy.target import choose, profile_settings

    start_s, end_s, info = _span(paths)
    name = target or str(info.get("target") or "local")
    address = (endpoint_url or info.get("endpoint_url")) if name == "local" else endpoint_url
    chosen = choose(
        name,
        endpoint_url=address,
        region=region or info.get("region"),
        profile=profile,
        profile_config=profile_settings(profile) if name == "aws" else {},
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', function)}.jsonl"
    draft = path.with_suffix(".partial")
    try:
        with _spoken(chosen, function), draft.open("w", encoding="utf-8") as file:
            count = _copy(_client(chosen), f"/aws/lambda/{function}", start_s, end_s, file)
        if not count:
            raise PreheatError(_nothing(function, start_s, end_s), 254)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _nothing(function: str, start_s: float, end_s: float) -> str:
    first, last = (datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") for at_s in (start_s, end_s))
    return f"/aws/lambda/{function} has no events between {first} and {last}: is it the function of this run?"


def _span(paths: Sequence[Path]) -> tuple[float, float, dict[str, Any]]:
    """(begin, end, run.json) of the run, with the margins within which its events lie."""
    from preheat.analysis.run_folder import read_inputs

    run = read_inputs(paths, paths[0])
    rows = run.table.rows
    if rows:
        margin_s = ZONES_S if run.clock == "local" else MARGIN_S
        return rows[0].start_s - margin_s, max(row.end_s for row in rows) + margin_s, run.info
    if run.users:
        return run.users[0][0] - MARGIN_S, run.users[-1][0] + MARGIN_S, run.info
    raise PreheatError("there are no requests whose log could be fetched", 252)


@contextmanager
def _spoken(target: Target, function: str) -> Iterator[None]:
    """botocore's exceptions as one line; a missing log group with what to do about it."""
    from preheat.deploy.target import spoken

    try:
        with spoken(target):
            yield
    except PreheatError as error:
        if "ResourceNotFoundException" in str(error):
            where = f"in {target.region}" if not target.local else f"at {target.endpoint_url}"
            text = f"there is no log group /aws/lambda/{function} {where}: check the name, or run the function once"
            raise PreheatError(text, error.exit_code) from error
        raise


def _client(target: Target) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": ATTEMPTS, "mode": "standard"})
    if target.local:
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        session = boto3.Session(aws_access_key_id="preheat", aws_secret_access_key="preheat", region_name=target.region)
    else:
        session = boto3.Session(profile_name=target.profile, region_name=target.region)
    return session.client("logs", endpoint_url=target.endpoints.get("logs"), config=config)


def _copy(client: Any, group: str, start_s: float, end_s: float, file: Any) -> int:
    """Write all events in the order the service gives them, page by page; returns how many. A page may be empty and
    still not the last one."""
    asked = {"logGroupName": group, "startTime": int(start_s * 1000), "endTime": int(end_s * 1000)}
    count = 0
    for page in client.get_paginator("filter_log_events").paginate(**asked):
        for event in page.get("events", ()):
            kept = {name: event[name] for name in ("timestamp", "message", "logStreamName") if name in event}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
            count += 1
    return count
