"""What a file is, told from what is in it: people rename files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from preheat.analysis.inputs import cloudwatch, locust_html, locust_log, locust_tables, refusals, xray
from preheat.analysis.inputs.columns import is_large, read_large
from preheat.analysis.inputs.lambda_lines import read_events
from preheat.analysis.inputs.locust_log import LocustLog
from preheat.analysis.inputs.locust_tables import LocustTables
from preheat.analysis.inputs.text import decode, read_bytes
from preheat.analysis.server_log import ServerLog

OWN_LABELS = b"index,start_s,response_ms,status,request_id,label,method,"
"""How the labels.csv of a report begins (`decomposition.write_labels`): it is made from a run and is none."""


class Kind(Enum):
    REQUESTS = auto()
    JOURNAL = auto()
    RUN = auto()
    LOCUST = auto()
    LAMBDA = auto()
    OTHER = auto()


@dataclass(slots=True)
class Source:
    """A file's kind and what was read from it; our own kinds are read by those who take them."""

    kind: Kind
    locust: LocustLog | None = None
    tables: LocustTables | None = None
    log: ServerLog | None = None
    reason: str = ""
    """Why a file of kind `OTHER` says nothing: the rest of a sentence that begins with its name."""


def open_source(path: Path) -> Source:
    """Read a file as what it is; `Kind.OTHER` if it has nothing to do with a run."""
    ours = {"requests.csv": Kind.REQUESTS, "journal.jsonl": Kind.JOURNAL, "run.json": Kind.RUN}
    if path.name in ours:
        return Source(ours[path.name])
    if is_large(path):
        log = read_large(path)
        if log is not None:
            return Source(Kind.LAMBDA, log=log)
    data = read_bytes(path)
    head = data[:2000]
    if head.startswith(OWN_LABELS):
        return Source(Kind.OTHER, reason="is a table that preheat report wrote: give it the run itself")
    if head.startswith(b"index,user,method,") or (b"response_ms" in head and b"request_id" in head):
        return Source(Kind.REQUESTS)
    if b'"type":' in head and b'"environment":' in head and b'"at_ms":' in head:
        return Source(Kind.JOURNAL)
    text = decode(data)
    del data
    source = _from_text(text)
    if source.kind is Kind.OTHER:
        source.reason = source.reason or refusals.why_not(head[:8], text)
    return source


def _from_text(text: str) -> Source:
    if "<html" in text[:2000].lower() or "window.templateArgs" in text:
        html = locust_html.parse(text) if locust_html.looks_like(text) else None
        return Source(Kind.LOCUST, tables=html) if html is not None else Source(Kind.OTHER)
    if (table := locust_tables.parse_table(text)) is not None:
        return Source(Kind.LOCUST, tables=table)
    if locust_log.looks_like(text):
        return Source(Kind.LOCUST, locust=locust_log.parse(text))
    if xray.looks_like(text):
        return Source(Kind.LAMBDA, log=xray.read(text))
    if cloudwatch.looks_like(text):
        events, bad = cloudwatch.read(text)
        log = read_events(events, bad)
        if len(log) or log.init_reports:
            return Source(Kind.LAMBDA, log=log)
        if not bad and "REPORT RequestId: " not in text:
            return Source(Kind.OTHER, reason=refusals.NO_REPORTS)
    return Source(Kind.OTHER)
