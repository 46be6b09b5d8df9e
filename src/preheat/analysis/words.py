"""The run in words. Every sentence is made from a figure of the summary; none is written beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.analysis import anatomy
from preheat.analysis.labels import Label, LabelledRequest
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


def _cold_headline(number: int, cold: Mapping[str, Any]) -> str:
    """Few cold starts have no typical one: then the worst stands for them."""
    if not cold["n"]:
        return "No cold starts were served" if number else "No cold starts"
    if cold["n"] == 1:
        return f"1 cold start: {duration(cold['max'])}"
    text = count(number, "cold start")
    return f"{text}, up to {duration(cold['max'])}" if cold["n"] < FEW else f"{text}: {duration(cold['p50'])} (median)"


def _median(times: Mapping[str, Any]) -> str:
    return duration(times["p50"]) if times["n"] else "unknown"


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
        text += f" in {summary['span_s']:.0f} s; {summary['ok']:,} ok, {sum(summary['failed'].values()):,} failed"
    return text + "."


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
            f"Opening a connection took about {duration(setup['p50'])} ({_how_setup(summary)}): that is no cold start."
        )
    if setup["n"] == 1:
        return f"Opening 1 connection took {duration(setup['max'])}: that is no cold start."
    return (
        f"Opening {setup['n']:,} connections took {duration(setup['p50'])} each (median), "
        f"{duration(setup['max'])} at worst: that is no cold start."
    )


def _how_setup(summary: Summary) -> str:
    number = f"{summary['connection_setup_ms']['n']:,}"
    if summary["connection_setup_method"] == "refused":
        return f"from {number} refused requests, which no function slowed"
    return f"inferred from the users' {number} first requests"


def _line_failed(summary: Summary) -> str:
    if not summary["failed"]:
        return ""
    by_status = ", ".join(
        f"{number:,} {'without an answer' if status == '0' else 'with status ' + status}"
        for status, number in summary["failed"].items()
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


def explanation(study: Study, summary: Summary, anatomies: Anatomies) -> list[str]:
    """The reading of the figures in paragraphs, each naming how it is known."""
    if not summary["requests"]:
        return ["The run holds no requests, so there is nothing to read from it."]
    if summary["label_method"] == "none":
        return [
            "Neither a journal nor a log of the function could be used, and these response times alone do not tell a "
            "cold start from a slow connection or a queue. Every served request is therefore labelled unknown."
        ]
    paragraphs = [_about_method(summary), _about_cold(summary, anatomies), _about_phase(study, summary)]
    paragraphs += [_about_waiting(summary), _about_setup(summary)]
    return [paragraph for paragraph in paragraphs if paragraph]


def _about_method(summary: Summary) -> str:
    if summary["environments_started"] is None:
        return _about_other_methods(summary)
    matched = summary["cold"] + summary["warm"] + summary["failed_in_function"]
    return (
        "A request is cold if, and only if, it was the first that its execution environment served. That is read from "
        "the cloud's journal and not from how long the request took: the request id in each answer names the record of "
        f"the environment that served it. {matched:,} of {summary['requests']:,} requests were tied to a record in "
        f"this way; {summary['failed_before_function'] + summary['throttled']:,} were refused before any function, "
        f"{summary['unmatched']:,} have no record. Percentiles interpolate linearly between neighbouring requests."
    )


def _about_other_methods(summary: Summary) -> str:
    """What the labels of a run without a journal rest on."""
    if summary["label_method"] == "latency-model":
        return (
            "There is no log of the function, so cold and warm were told apart by response time: only where a "
            "population of slow requests stands apart from the fast ones, and only beyond what opening a connection "
            f"can cost. {summary['unknown']:,} requests that could be either are left unknown. Times alone cannot tell "
            "a cold start from another cause that is as slow and as rare; the log of the function can."
        )
    log = summary["log"]
    text = (
        "A request is cold if the function's log shows that it carried an initialisation or a restore: Init Duration "
        "in its REPORT line, an INIT_REPORT line before it, or a time-out in the same environment just before."
    )
    if log["hidden_inits"]:
        text += f" {count(log['hidden_inits'], 'initialisation')} of the log stands in no REPORT line."
    if log["clock"] is not None:
        text += (
            f" The lines were joined to the client's records in time: the client's clock is at "
            f"{log['clock']['time_zone']} and {abs(log['clock']['remaining_s']):.3f} s beside the log's, the way back "
            f"included, with a spread of {log['clock']['spread_ms']:.0f} ms. Each line was given to one request at "
            f"most; {log['left_over']:,} of the run's time were left over and {log['outside']:,} lie outside it."
        )
    return text


def _about_cold(summary: Summary, anatomies: Anatomies) -> str:
    cold, warm = summary["cold_ms"], summary["warm_ms"]
    parts = mean_parts(anatomies)
    if not cold["n"] or not parts:
        return ""
    name, longest_ms = max(parts.items(), key=lambda part: part[1])
    whole = sum(parts.values())
    text = (
        f"{summary['cold_waited_ms']['n']:,} of {count(summary['cold'], 'cold request')} had to wait until the "
        f"environment was ready; the largest part of the time was {name}, {duration(longest_ms)} of {duration(whole)} "
        f"on average ({percent(longest_ms, whole)})."
    )
    if summary["cold_ready"]:
        text += (
            f" {summary['cold_ready']:,} found it ready: it had been started for an earlier request that another "
            "environment then took."
        )
    first, later = summary["server"]["cold_duration_ms"], summary["server"]["warm_duration_ms"]
    if later["n"] and first["n"] and first["p50"] > 2 * later["p50"]:
        text += (
            f" The handler itself was slower the first time: {duration(first['p50'])} against {duration(later['p50'])} "
            "(medians measured on the server)."
        )
    if warm["n"]:
        text += f" Once warm, half of the requests were answered within {duration(warm['p50'])}."
    return text


def _about_phase(study: Study, summary: Summary) -> str:
    if not summary["cold"] + summary["warm"] + summary["failed_in_function"]:
        what = "is known to have reached" if summary["unmatched"] else "reached"
        return f"No request {what} the function, so nothing here says what a cold start costs."
    if summary["last_cold_s"] is None:
        return "No environment started for a request of this run: all that served had served before."
    last_s = summary["last_cold_s"]
    waited = [item.request.end_s - study.start_s for item in study.labelled if item.label == "warm_waited"]
    during = int((study.series(Label.WARM)[0] < last_s).sum())
    text = f"The last cold request was answered {last_s:.1f} s after the run began."
    if during:
        text += (
            f" {count(during, 'request')} sent before that moment {'was' if during == 1 else 'were'} served warm "
            "without waiting: a rule that calls everything before a moment cold would count them wrongly."
        )
    if waited:
        text += f" The last request that waited was answered after {max(waited):.1f} s."
    return text


def _about_waiting(summary: Summary) -> str:
    waited = summary["waited_ms"]
    if not waited["n"]:
        return ""
    subject = "1 warm request was" if waited["n"] == 1 else f"{waited['n']:,} warm requests were"
    return (
        f"{subject} slow without being cold: no environment was free on arrival, and one that had already served took "
        f"them in the end (a wait above {summary['waited_threshold_ms']:g} ms counts). They are shown apart, and "
        "the figures for warm requests leave them out."
    )


def _about_setup(summary: Summary) -> str:
    setup = summary["connection_setup_ms"]
    if not setup["n"]:
        return ""
    if summary["connection_setup_method"] != "measured":
        text = (
            f"The first request of each client also opens a connection, for about {duration(setup['p50'])} "
            f"({_how_setup(summary)}). It is part of the response time but not of a cold start."
        )
        if summary["explained_by_setup"]:
            text += (
                f" That alone explains {count(summary['explained_by_setup'], 'slow first request')}, which are "
                "therefore not called cold."
            )
        return text
    return (
        f"The first request of each client also opens a connection. That was measured: {duration(setup['p50'])} "
        f"(median of {setup['n']:,}). It is part of the response time but not of a cold start."
    )
