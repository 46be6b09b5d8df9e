"""The run in words. Every sentence is made from a figure of the summary; none is written beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.analysis import anatomy
from preheat.analysis.labels import LabelledRequest
from preheat.analysis.study import Study

Summary = Mapping[str, Any]
Anatomies = list[tuple[LabelledRequest, list[anatomy.Part]]]

FEW = 20
"""Fewer values than this have no 95th percentile to speak of: it is then a matter of the largest one."""


def duration(ms: float) -> str:
    """Milliseconds for people: 0.42 ms, 4.1 ms, 128 ms, 1.93 s, 61 s."""
    if ms < 0.95:
        return f"{ms:.2f} ms"
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.2f} s" if ms < 9995 else f"{ms / 1000:,.0f} s"


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(part: float, whole: float) -> str:
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    return f"{share:.2g}%" if share < 9.5 else f"{share:.0f}%"


def headline(summary: Summary) -> str:
    """The finding in one line: the title of the page and of the line graph."""
    cold, warm, waited = summary["cold_ms"], summary["warm_ms"], summary["waited_ms"]
    if not summary["requests"]:
        return "No requests were sent"
    if none_reached(summary):
        return f"Not one of {count(summary['requests'], 'request')} reached the function: nothing was cold"
    if summary["label_method"] == "none":
        return (
            f"{count(summary['requests'], 'request')}, median {_median(summary['all_ms'])}; cold or warm is not known"
        )
    if not cold["n"] and not warm["n"] and not waited["n"]:
        if summary["cold"]:
            return f"{count(summary['cold'], 'cold start')}, every one failed in the function"
        where = "journal" if summary["log"] is None else "log"
        what = f"could be tied to the {where}" if summary["unmatched"] else "was served by the function"
        return f"None of {count(summary['requests'], 'request')} {what}"
    is_open = not summary["cold"] and (summary["unknown"] or summary["unmatched"])
    parts = ["No cold start is known" if is_open else _cold_headline(summary["cold"], cold)]
    if warm["n"]:
        parts.append(f"warm requests {duration(warm['p50'])} (median)")
    elif waited["n"]:
        parts.append(f"warm requests {duration(waited['p50'])} (median, all of them waited)")
    return "; ".join(parts)


def none_reached(summary: Summary) -> bool:
    """Whether every request of a run without journal or log was refused before it could reach the function."""
    refused = summary["failed_before_function"] + summary["throttled"]
    return bool(summary["label_method"] == "none" and 0 < refused == summary["requests"])


def _cold_headline(number: int, cold: Mapping[str, Any]) -> str:
    """Few cold starts have no typical one: then the worst stands for them."""
    if not cold["n"]:
        return "No cold starts were served" if number else "No cold starts"
    if cold["n"] == 1:
        return f"1 cold start: {duration(cold['max'])}"
    text = count(number, "cold start")
    return f"{text}, up to {duration(cold['max'])}" if cold["n"] < FEW else f"{text}: {duration(cold['p50'])} (median)"


def _median(times: Mapping[str, Any]) -> str:
    return "unknown" if times["p50"] is None else duration(times["p50"])


def ten_lines(study: Study, summary: Summary, anatomies: Anatomies) -> list[str]:
    """What was found, at most nine lines, one thought each; the tenth is where the report is."""
    lines = [
        _line_run(study, summary),
        _line_cold(summary),
        _line_warm(summary),
        _line_waited(summary),
        _line_inside(anatomies),
        _line_tail(summary),
        _line_setup(summary),
        _line_failed(summary),
        _line_method(summary),
    ]
    return [line for line in lines if line]


def _line_run(study: Study, summary: Summary) -> str:
    info = study.folder.info
    traits = [str(info["runtime"])] if info.get("runtime") else []
    traits += [f"{info['memory_mb']} MB"] if info.get("memory_mb") else []
    traits += [{"local": "this machine", "aws": "AWS"}.get(str(info.get("target")), "")]
    told = ", ".join(trait for trait in traits if trait)
    text = f"{study.function}{f' ({told})' if told else ''}: {count(summary['requests'], 'request')}"
    users = info.get("users")
    if isinstance(users, int) and users:
        text += f" from {count(users, 'user')}"
    if summary["requests"]:
        text += f" in {_span(summary['span_s'])}" if summary["span_s"] else ""
        text += f"; {summary['ok']:,} ok, {sum(summary['failed'].values()):,} failed"
    return text + "."


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"


def _line_cold(summary: Summary) -> str:
    if not summary["requests"] or summary["label_method"] == "none":
        return ""
    if not summary["cold"]:
        is_open = summary["unmatched"] or summary["unknown"]
        return "No request is known to have been cold." if is_open else "No request was cold."
    share = f"{count(summary['cold'], 'request')} ({percent(summary['cold'], summary['requests'])}) met a cold start"
    cold = summary["cold_ms"]
    if not cold["n"]:
        return f"{share}; all of them failed."
    if cold["n"] == 1:
        return f"{share}: {duration(cold['max'])}."
    if summary["cold_ready"]:
        return _line_cold_ready(summary)
    return f"{share}: median {duration(cold['p50'])}, from {duration(cold['min'])} to {duration(cold['max'])}."


def _line_cold_ready(summary: Summary) -> str:
    """Cold is an environment's first request; not every one of them stood through the start."""
    waited, ready = summary["cold_waited_ms"], summary["cold_ready"]
    share = percent(summary["cold"], summary["requests"])
    text = f"{count(summary['cold'], 'request was', 'requests were')} cold ({share})"
    found = f"{ready} found {'its' if ready == 1 else 'their'} environment already started"
    if not waited["n"]:
        return f"{text}, but {found}: worst {duration(summary['cold_ms']['max'])}."
    took = duration(waited["max"]) if waited["n"] == 1 else f"{duration(waited['min'])} to {duration(waited['max'])}"
    return f"{text}: {waited['n']} waited for the start ({took}), {found}."


def _line_warm(summary: Summary) -> str:
    warm, cold = summary["warm_ms"], summary["cold_waited_ms"]
    if not warm["n"]:
        return ""
    text = (
        f"{count(warm['n'], 'warm request')}: median {duration(warm['p50'])}, 95% within {duration(warm['p95'])}, "
        f"worst {duration(warm['max'])}."
    )
    if cold["n"] and warm["p50"] and cold["p50"] > 2 * warm["p50"]:
        text += f" Waiting for a cold start took {cold['p50'] / warm['p50']:,.0f} times as long."
    return text


def _line_waited(summary: Summary) -> str:
    waited = summary["waited_ms"]
    if not waited["n"]:
        return ""
    verb = "was" if waited["n"] == 1 else "were"
    return (
        f"{count(waited['n'], 'more request')} {verb} warm but waited for a busy or starting environment: "
        f"median {duration(waited['p50'])}, worst {duration(waited['max'])}."
    )


def mean_parts(anatomies: Anatomies) -> dict[str, float]:
    """Mean milliseconds of each part, in the order they happen, over the cold requests that waited for the start."""
    total: dict[str, float] = {}
    waited = [parts for item, parts in anatomies if item.waited]
    for parts in waited:
        for name, length_ms in anatomy.by_name(parts).items():
            total[name] = total.get(name, 0.0) + length_ms / len(waited)
    return {name: total[name] for name in anatomy.ORDER if name in total}


def _line_inside(anatomies: Anatomies) -> str:
    parts = mean_parts(anatomies)
    if not parts:
        return ""
    whole = sum(parts.values())
    largest = sorted(parts.items(), key=lambda part: -part[1])[:4]
    told = ", ".join(f"{name} {duration(ms)} ({percent(ms, whole)})" for name, ms in largest if ms >= 0.005 * whole)
    return f"Inside a cold start (mean): {told}."


def _line_tail(summary: Summary) -> str:
    tail = summary["slowest_1_percent"]
    if tail["n"] < 3 or not summary["cold"]:
        return ""
    cold, waited = tail.get("cold", 0), tail.get("warm_waited", 0)
    rest = tail["n"] - cold - waited
    return f"The slowest 1% ({count(tail['n'], 'request')}): {cold} cold, {waited} waited, {rest} neither."


def _line_setup(summary: Summary) -> str:
    setup = summary["connection_setup_ms"]
    if not setup["n"]:
        return ""
    if summary["connection_setup_method"] != "measured":
        return (
            f"Opening a connection took about {duration(setup['p50'])} ({how_setup(summary)}): that is no cold start."
        )
    if setup["n"] == 1:
        return f"Opening 1 connection took {duration(setup['max'])}: that is no cold start."
    return (
        f"Opening {setup['n']:,} connections took {duration(setup['p50'])} each (median), "
        f"{duration(setup['max'])} at worst: that is no cold start."
    )


def how_setup(summary: Summary) -> str:
    """How an inferred set-up is known."""
    number = f"{summary['connection_setup_ms']['n']:,}"
    if summary["connection_setup_method"] == "refused":
        return f"from {number} refused requests, which no function slowed"
    return f"inferred from the users' {number} first requests"


def _line_failed(summary: Summary) -> str:
    if not summary["failed"]:
        return ""
    said = {"0": "without an answer", "unknown": "with a status that the tables do not tell"}
    said |= {"error": "with an error", "timeout": "by time-out"} if summary["times"] == "server" else {}
    by_status = ", ".join(
        f"{number:,} {said.get(status, 'with status ' + status)}" for status, number in summary["failed"].items()
    )
    where = [
        f"{summary[key]:,} {text}"
        for key, text in (
            ("failed_before_function", "never reached the function"),
            ("failed_in_function", "failed in it, warm"),
            ("throttled", "were throttled"),
        )
        if summary[key]
    ]
    return f"Failed: {by_status}{'; ' + ', '.join(where) if where else ''}."


def _line_method(summary: Summary) -> str:
    if not summary["requests"]:
        return ""
    if none_reached(summary):
        return "No request reached the function, so none was cold and none warm."
    if summary["label_method"] == "none":
        return "Nothing tells cold from warm here, so both are unknown: nothing is guessed."
    if summary["label_method"] == "latency-model":
        return (
            f"Labels come from response times alone (two populations, {summary['unknown']:,} left unknown); mean "
            f"probability {summary['label_confidence']:.2f}."
        )
    if summary["environments_started"] is None:
        return _line_log(summary)
    total = summary["requests"]
    text = f"Labels are exact, by request id: {summary['unmatched']:,} of {total:,} unmatched."
    equation = f"{count(summary['environments_started'], 'environment')} started"
    parts = [f"{summary['cold']} cold", f"{summary['environments_never_served']} never used"]
    parts += [f"{summary['cold_from_others']} by other callers"] if summary["cold_from_others"] else []
    sign = "=" if summary["accounting_ok"] else "but"
    return f"{text} {equation} {sign} {' + '.join(parts)}."


def _line_log(summary: Summary) -> str:
    """How the function's log was used."""
    log = summary["log"]
    if summary["times"] == "server":
        return f"Labels are those of the {count(log['reports'], 'REPORT line')}: cold where an initialisation is shown."
    if log["clock"] is None:
        return f"Labels are exact, by request id: {log['matched']:,} of {summary['requests']:,} have a REPORT line."
    return (
        f"Labels come from {log['matched']:,} REPORT lines joined in time (client at {log['clock']['time_zone']}, "
        f"off by {log['clock']['remaining_s']:.2f} s), mean probability {summary['label_confidence']:.2f}; "
        f"{summary['unmatched']:,} requests and {log['left_over']:,} lines left over."
    )
