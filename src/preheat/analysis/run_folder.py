"""What is known of a run, as values: a folder that `preheat load` left, or any files of Locust's and Lambda's."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from gzip import BadGzipFile
from pathlib import Path
from typing import Any

from preheat.analysis.inputs.locust_log import Ramp
from preheat.analysis.inputs.locust_tables import LocustTables, combined
from preheat.analysis.inputs.refusals import UNRELATED
from preheat.analysis.inputs.sniff import Kind, Source, open_source
from preheat.analysis.inputs.text import open_bytes, read_bytes
from preheat.analysis.journal import Journal, parse_journal
from preheat.analysis.requests_csv import RequestTable, parse_requests
from preheat.analysis.server_log import ServerLog, join_logs
from preheat.kernel.errors import PreheatError

USAGE = 252
"""Exit code of a wrong argument, as the aws CLI's."""

SOURCES = "sources.json"
"""Beside a report made from several files: which they were, so that its notebook can read them again."""

LABELS = "labels.csv"
"""What `decomposition.write_labels` leaves of each request."""
_GENERATOR = b'<meta name="generator" content="Preheat">'

_DEEPEST = 3
_SUFFIXES = {".txt", ".log", ".csv", ".json", ".jsonl", ".ndjson", ".html", ".htm", ".gz", ".tsv", ""}


@dataclass(slots=True)
class RunFolder:
    """`info` is run.json ({} where missing), `journal` and `log` None where missing, `users` (epoch s, users running).

    `clock` is "epoch", or "local" where the requests' times are a client's local ones taken as UTC.
    """

    path: Path
    table: RequestTable
    journal: Journal | None
    info: dict[str, Any] = field(default_factory=dict)
    users: list[tuple[float, int]] = field(default_factory=list)
    log: ServerLog | None = None
    clock: str = "epoch"
    ramps: list[Ramp] = field(default_factory=list)
    tables: LocustTables = field(default_factory=LocustTables)
    """What `tables_read`, one for each file, tell together."""
    tables_read: list[LocustTables] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Of each file that was given and says nothing of a run: its name and why."""
    locust_logs: int = 0
    """How many logs of Locust's there were."""
    interrupted: bool = False
    """A Locust log that says how it began but not that it ended."""
    first_text: str = ""
    """The first response text in a Locust log."""
    incomplete: int = 0
    """Responses in a Locust log whose status is missing."""
    without_status: int = 0
    """Responses in Locust logs that hold no status at all: they are taken for successes."""
    clock_changes: int = 0
    """How often the client's local clock was put forward or back by an hour during a run."""


def read_run(path: Path) -> RunFolder:
    """Read a run's folder, with whatever logs of Lambda's lie in it.

    Raises PreheatError: 252 if it is none, 255 if a file in it makes no sense."""
    if not path.is_dir():
        raise PreheatError(f"{path} is not a run's folder: no such directory", USAGE)
    return read_inputs([path], path)


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """The paths, a report's folder that was made from other files replaced by those."""
    found: list[Path] = []
    for path in paths:
        listed = path / SOURCES
        if listed.is_file():
            found += [path / name for name in json.loads(listed.read_text(encoding="utf-8"))["paths"]]
        else:
            found.append(path)
    return found


def read_inputs(paths: Sequence[Path], home: Path) -> RunFolder:
    """Everything in the files and folders `paths` that belongs to a run; the report will go to `home`.

    Raises PreheatError: 252 for a path that does not exist or if nothing in them can be analysed, 255 if a file of
    ours makes no sense.
    """
    run = RunFolder(home, RequestTable(), None)
    logs: list[ServerLog] = []
    rows: list[RequestTable] = []
    journals: list[Journal] = []
    for path in _expanded(paths):
        if not path.exists():
            raise PreheatError(f"{path} is not a run's folder: no such file or directory", USAGE)
        for file in sorted(_files(path)) if path.is_dir() else [path]:
            try:
                source = open_source(file)
                _take(run, file, source, logs, rows, journals)
            except (EOFError, BadGzipFile, zlib.error):
                raise PreheatError(f"{file} is a gzip file that is broken or cut off: fetch it again", USAGE) from None
            if source.reason and not (path.is_dir() and source.reason == UNRELATED):
                run.unread.append(f"{file} {source.reason}")
    _settle(run, rows, journals, logs)
    if not run.sources:
        if run.unread:
            raise PreheatError("; ".join(run.unread), USAGE)
        where = ", ".join(map(str, paths))
        what = "it has no requests.csv, no log of Locust's and no log of a function's"
        raise PreheatError(f"{where} is not a run's folder: {what}", USAGE)
    _check_tables(run)
    return run


def _check_tables(run: RunFolder) -> None:
    """Locust's lists of failures and exceptions are no run: they do not say how many requests there were."""
    known = run.table.rows or run.journal is not None or run.log is not None or run.info or run.ramps or run.users
    if run.tables_read and run.tables.requests is None and not known and "requests.csv" not in run.sources:
        text = "lists failures or exceptions only: give the run's log, _stats.csv or HTML report as well"
        raise PreheatError(f"{', '.join(run.sources)} {text}", USAGE)


def _files(folder: Path, depth: int = 0) -> Iterable[Path]:
    """The files of a folder that may hold something of a run; our own reports and hidden files are left out."""
    for path in folder.iterdir():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir() and depth < _DEEPEST and path.name not in ("figures", "node_modules", "__pycache__"):
            yield from _files(path, depth + 1)
        elif path.is_file() and path.suffix.lower() in _SUFFIXES and (depth > 0 or not is_own_output(path)):
            yield path


def input_bytes(paths: Sequence[Path]) -> int:
    """The size of all files that `read_inputs` would look into."""
    files = (file for path in _expanded(paths) for file in (_files(path) if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files)


def is_own_output(path: Path) -> bool:
    """Whether a report of ours wrote the file; `report.html` is also what many call Locust's."""
    if path.name != "report.html":
        return path.name in ("summary.json", LABELS, SOURCES)
    with path.open("rb") as file:
        return _GENERATOR in file.read(2000)


def _take(
    run: RunFolder, file: Path, source: Source, logs: list[ServerLog], rows: list[Any], journals: list[Journal]
) -> None:
    """File what the source holds under what is known of the run."""
    if source.kind is Kind.OTHER:
        return
    if source.kind is Kind.REQUESTS:
        try:
            with open_bytes(file) as data:
                rows.append(parse_requests(data))
        except ValueError as error:
            raise PreheatError(f"{file}: {error}") from None
    elif source.kind is Kind.JOURNAL:
        with open_bytes(file) as data:
            journals.append(parse_journal(data))
    elif source.kind is Kind.RUN:
        run.info = run.info or _read_info(file, read_bytes(file))
        return
    elif source.tables is not None:
        run.tables_read.append(source.tables)
    elif source.locust is not None:
        run.locust_logs += 1
        run.ramps += source.locust.ramps
        run.incomplete += source.locust.incomplete
        run.without_status += source.locust.without_status
        run.clock_changes += source.locust.clock_changes
        run.interrupted |= source.locust.started > source.locust.finished
        run.table.rows += source.locust.requests
        run.first_text = run.first_text or source.locust.first_text
    elif source.log is not None:
        logs.append(source.log)
    run.sources.append(file.name)


def _settle(run: RunFolder, tables: list[RequestTable], journals: list[Journal], logs: list[ServerLog]) -> None:
    """Decide between what several files tell: recorded requests are better than logged ones."""
    if tables:
        run.table = RequestTable()
        run.ramps = []
        for table in tables:
            run.table.rows += table.rows
            run.table.bad_rows += table.bad_rows
            run.table.torn |= table.torn
    elif run.table.rows:
        run.clock = "local"
    run.table.rows.sort(key=lambda request: (request.start_s, request.index))
    for journal in journals:
        if run.journal is None:
            run.journal = journal
        else:
            run.journal.extend(journal)
    run.log = join_logs(logs)
    run.tables = combined(run.tables_read)
    run.users = run.tables.users


def _read_info(path: Path, data: bytes) -> dict[str, Any]:
    try:
        info = json.loads(data.decode("utf-8", "replace"))
    except ValueError as error:
        raise PreheatError(f"{path} is not JSON: {error}") from None
    if not isinstance(info, dict):
        raise PreheatError(f"{path} is not a JSON object")
    if info.get("schema", 1) != 1:
        raise PreheatError(f"{path} has schema {info['schema']}; this version of preheat reads schema 1")
    return info
