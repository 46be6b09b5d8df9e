"""`report.html`: the run on one page, in one file that needs nothing else."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from preheat.analysis import anatomy, words
from preheat.analysis.figures import Drawing
from preheat.analysis.questions import answers
from preheat.analysis.reading import explanation
from preheat.analysis.study import Study

if TYPE_CHECKING:
    from jinja2 import Template

MOST_COLD_ROWS = 100
"""Cold starts listed on the page, the slowest ones; all of them are in requests.csv."""
MOST_SAMPLE_CHARACTERS = 20_000


def render_page(
    study: Study, summary: Mapping[str, Any], anatomies: words.Anatomies, drawings: Sequence[Drawing]
) -> str:
    """The page as HTML. Whatever came from the run is escaped; the figures' SVG is our own."""
    return page_template("report.html.j2").render(
        title=words.headline(summary),
        function=study.function,
        when=_when(study.folder.info),
        findings=words.ten_lines(study, summary, anatomies),
        tiles=_tiles(summary),
        drawings=drawings,
        cold_columns=_columns(anatomies),
        cold_rows=_cold_rows(study, anatomies),
        cold_total=len(anatomies),
        explanation=explanation(study, summary, anatomies),
        questions=answers(study, summary, anatomies),
        sample=_sample(study),
        made=_how_made(study),
        warnings=summary["warnings"],
        files=summary["files"],
        duration=words.duration,
    )


def page_template(name: str) -> Template:
    """A template of the package, which escapes what it is given; raises jinja2's error for a name it lacks."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("preheat.analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["tight"] = tight
    return environment.get_template(name)


def tight(text: str) -> str:
    """The text with every number tied to its unit, so that no line breaks between them."""
    return re.sub(r"(\d) (ms|s|MB|GiB)\b", "\\1\u00a0\\2", text)


def _when(info: Mapping[str, Any]) -> str:
    started = info.get("started_at")
    if not isinstance(started, int | float):
        return ""
    return datetime.fromtimestamp(started, UTC).strftime("%d %B %Y, %H:%M:%S UTC")


_TIMED = (("cold_waited_ms", "Cold start, median"), ("waited_ms", "Warm, waited, median"), ("warm_ms", "Warm, median"))


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Key figures as (name, figure, remark)."""
    is_known = summary["label_method"] != "none" and summary["requests"]
    failed = sum(summary["failed"].values())
    tiles = [
        ("Requests", f"{summary['requests']:,}", _rate(summary)),
        ("Failed", f"{failed:,}", _share(failed, summary)),
    ]
    if not is_known:
        return tiles
    tiles.append(("Cold starts", f"{summary['cold']:,}", _share(summary["cold"], summary)))
    for key, name in _TIMED:
        times = summary[key]
        if times["n"]:
            remark = (
                f"worst {words.duration(times['max'])}" if key != "warm_ms" else f"p95 {words.duration(times['p95'])}"
            )
            tiles.append((name, words.duration(times["p50"]), f"{times['n']:,} timed, {remark}"))
    if (costs := summary["costs"]) is not None:
        remark = f"on AWS; ${costs['parts_usd']['of_it_initialisation']:.2f} of it initialisation"
        tiles.append(("A million requests", f"${costs['per_million_requests_usd']:.2f}", remark))
    return tiles


def _rate(summary: Mapping[str, Any]) -> str:
    return f"{summary['throughput_per_s']:.1f} a second" if summary["throughput_per_s"] else ""


def _share(number: int, summary: Mapping[str, Any]) -> str:
    return f"{words.percent(number, summary['requests'])} of all requests"


def _columns(anatomies: words.Anatomies) -> list[str]:
    found = {part.name for _, parts in anatomies for part in parts}
    return [name for name in anatomy.ORDER if name in found]


def _cold_rows(study: Study, anatomies: words.Anatomies) -> list[dict[str, Any]]:
    """The slowest cold starts in the order sent, each with the milliseconds of its parts."""
    slowest = sorted(anatomies, key=lambda found: -found[0].request.response_ms)[:MOST_COLD_ROWS]
    columns = _columns(anatomies)
    rows = []
    for item, parts in sorted(slowest, key=lambda found: found[0].request.start_s):
        lengths = anatomy.by_name(parts)
        rows.append(
            {
                "at_s": item.request.start_s - study.start_s,
                "environment": item.invocation.environment if item.invocation else "",
                "request_id": item.request.request_id,
                "response_ms": item.request.response_ms,
                "failed": item.invocation.error_type or item.invocation.status
                if item.invocation and item.invocation.status != "ok"
                else "",
                "parts": [lengths.get(name) for name in columns],
            }
        )
    return rows


def _sample(study: Study) -> list[tuple[str, str]]:
    """(heading, text) of one request, its answer and its log events, where the run or the function's log has them."""
    info = study.folder.info
    sample = info.get("sample")
    if not isinstance(sample, dict):
        sample = {"response": study.folder.first_text, "log_events": _events(study)}
    headings = (("request", "Request"), ("response", "Answer"), ("log_events", "Log events"))
    return [(heading, _text(sample[key])) for key, heading in headings if sample.get(key)]


def _events(study: Study) -> list[str] | None:
    """The log lines of one invocation; none where the log holds other runs too and they are of one of those."""
    log = study.log
    if log is None or study.use is None or log.request_ids is None or not log.events:
        return log.events if log is not None else None
    ours = (log.request_ids[item.report] for item in study.labelled if item.report >= 0)
    text = "\n".join(log.events)
    return log.events if any(request_id and request_id in text for request_id in ours) else None


def _text(value: Any) -> str:
    """Text as it is; log events one a line; an HTTP message as its first line and body; anything else as JSON."""
    if isinstance(value, list):
        lines = [str(line.get("message", line)) if isinstance(line, dict) else str(line) for line in value]
        text = "\n".join(line.rstrip("\n") for line in lines)
    elif isinstance(value, dict) and ("method" in value or "status" in value):
        first = " ".join(str(value[key]) for key in ("method", "url", "status") if value.get(key))
        text = f"{first}\n{_text(value.get('body', ''))}"
    else:
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= MOST_SAMPLE_CHARACTERS else text[:MOST_SAMPLE_CHARACTERS] + " …"


def _how_made(study: Study) -> list[tuple[str, str]]:
    """(name, value) of what was run, and where; only what run.json tells."""
    info = study.folder.info
    argv = info.get("locust_argv")
    machine = info.get("machine") if isinstance(info.get("machine"), dict) else {}
    memory_mb = machine.get("memory_mb") if machine else None
    known = [
        ("Command", shlex.join(map(str, argv)) if isinstance(argv, list) else argv),
        ("Host", info.get("host")),
        ("Function", _joined(info, ("function", "version", "runtime"))),
        ("Package", _joined(info, ("package_type", "architecture", "image_uri", "image_digest"))),
        ("Memory", f"{info['memory_mb']} MB" if info.get("memory_mb") else None),
        ("Time limit", f"{info['timeout_s']} s" if info.get("timeout_s") else None),
        ("Sandbox", info.get("sandbox")),
        ("Starts at once", info.get("max_inits")),
        ("Machine", _joined(machine or {}, ("system",))),
        ("Processors", machine.get("cpus") if machine else None),
        ("Machine's memory", f"{memory_mb / 1024:.1f} GiB" if isinstance(memory_mb, int | float) else None),
        ("Python", machine.get("python") if machine else None),
        ("Preheat", info.get("preheat_version")),
        ("Locust's exit status", info.get("exit_code")),
    ]
    return [(name, str(value)) for name, value in known if value not in (None, "")]


def _joined(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(str(values[key]) for key in keys if values.get(key))
