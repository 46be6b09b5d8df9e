"""How to read a run: paragraphs made from the figures of its summary, each naming how it is known."""

from __future__ import annotations

from preheat.analysis.labels import Label
from preheat.analysis.study import Study
from preheat.analysis.words import Anatomies, Summary, count, duration, how_setup, mean_parts, none_reached, percent


def explanation(study: Study, summary: Summary, anatomies: Anatomies) -> list[str]:
    """The paragraphs that this run's figures have something to say in."""
    if not summary["requests"]:
        return ["The run holds no requests, so there is nothing to read from it."]
    if none_reached(summary):
        told = "Every request was refused before it reached the function: what made some of them slow is no cold start."
        return [text for text in (told, _about_setup(summary)) if text]
    if summary["label_method"] == "none":
        return [
            "Neither a journal nor a log of the function could be used, and these response times alone do not tell a "
            "cold start from a slow connection or a queue. Every served request is therefore labelled unknown."
        ]
    paragraphs = [_about_method(summary), _about_cold(summary, anatomies), _about_phase(study, summary)]
    paragraphs += [_about_waiting(summary), _about_setup(summary), _about_parts(summary), _about_omission(summary)]
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
    if summary["last_cold_s"] is None and summary["unknown"] + summary["unmatched"]:
        return "No request is known to have been cold, but not of every request is it known."
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
            f"({how_setup(summary)}). It is part of the response time but not of a cold start."
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


def _about_parts(summary: Summary) -> str:
    """How exactly the parts add up."""
    found = summary["decomposition"]
    if found is None:
        return ""
    number = sum(found[label]["n"] for label in ("cold", "warm", "warm_waited"))
    text = f"{count(number, 'request was', 'requests were')} taken apart; the parts of each add up to its response time"
    if not found["inexact"]:
        return f"{text} (to within {duration(max(found['largest_error_ms'], 0.01))})."
    return (
        f"{text}, except in {count(found['inexact'], 'request')}, where what the server measured exceeds it, by "
        f"{duration(found['largest_error_ms'])} at most: the clocks do not agree to more than that."
    )


def _about_omission(summary: Summary) -> str:
    """What a closed loop leaves out: a user that waits for an answer sends its next request late."""
    corrected, plain = summary["corrected_ms"], summary["all_ms"]
    if corrected is None or plain["p99"] is None:
        return ""
    told = ", ".join(f"{at} {duration(corrected[at])} instead of {duration(plain[at])}" for at in ("p50", "p95", "p99"))
    return (
        f"A user that waits for an answer sends its next request late, so that slow moments are asked less often than "
        f"quick ones. Counted from the moment at which each request was due, all requests took {told}."
    )
