"""The assignment's five questions, answered from this run's own configuration and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preheat.analysis.study import Study
from preheat.analysis.words import Anatomies, count, duration, mean_parts, percent

Summary = Mapping[str, Any]


def answers(study: Study, summary: Summary, anatomies: Anatomies) -> list[tuple[str, str]]:
    """(question, answer) for the five; what this run does not tell is left out or said to be unknown."""
    return [
        (
            "What does the Lambda function do here, and how does lambda_handler process requests?",
            _function(study, summary),
        ),
        ("What is API Gateway for, and how does it route requests to the function?", _gateway(study, summary)),
        ("What is ECR's role, and how does it work with Lambda?", _registry(study)),
        ("How do cold starts compare with warm requests?", _compared(summary, anatomies)),
        ("What do cold starts mean for this function, and what can be done?", _strategies(summary, anatomies)),
    ]


def _function(study: Study, summary: Summary) -> str:
    info = study.folder.info
    facts = [str(info["runtime"])] if info.get("runtime") else []
    facts += [f"{info['memory_mb']} MB"] if info.get("memory_mb") else []
    facts += [f"a limit of {info['timeout_s']} s"] if info.get("timeout_s") else []
    text = (
        f"{'The function' if study.function == 'the function' else study.function} runs only while there are requests;"
    )
    text += " Lambda starts an execution environment when none is idle and keeps it for the next"
    text += f" request{' (' + ', '.join(facts) + ')' if facts else ''}."
    text += (
        " lambda_handler is called with the event (behind API Gateway its body holds the values as JSON text), takes"
    )
    text += " the values out of it, calls predict with the model that was loaded when the environment started, and"
    text += " returns a status and a JSON body."
    if summary["environments_started"]:
        started = count(summary["environments_started"], "environment")
        text += f" In this run {started} served {count(summary['requests'], 'request')}."
    warm = summary["server"]["warm_duration_ms"]
    if warm["n"]:
        text += (
            f" Once warm, the handler took {duration(warm['p50'])} (median of {warm['n']:,}, measured at the server)."
        )
    return text


def _gateway(study: Study, summary: Summary) -> str:
    where = study.folder.info.get("host")
    text = "API Gateway gives the function an HTTPS address"
    text += f" (here {where})" if where else ""
    text += (
        ", checks path, method and limits, turns the HTTP request into the event of a proxy integration, invokes the"
    )
    text += " function and turns what it returns into the HTTP response."
    refused = summary["failed_before_function"] + summary["throttled"]
    if refused:
        text += f" {refused:,} of {count(summary['requests'], 'request')} were answered by it without the function"
        by_status = ", ".join(f"{number:,} with {status}" for status, number in summary["failed"].items())
        text += f" (failed by status: {by_status})."
    else:
        text += " No request of this run was refused before the function."
    setup = summary["connection_setup_ms"]
    if setup["n"]:
        text += (
            f" Opening a connection to it took {duration(setup['p50'])} (median, {summary['connection_setup_method']})."
        )
    return text


def _registry(study: Study) -> str:
    info = study.folder.info
    text = (
        "ECR keeps the container image; Lambda pulls it by its digest when the function is created or updated, so that"
    )
    text += " an environment starts from exactly that image and no request waits for the registry itself."
    if info.get("package_type") == "Image":
        text += " This run's function was deployed from a container image"
        text += f", {info['image_uri']}" if info.get("image_uri") else ""
        return text + (f", which Lambda had resolved to {info['image_digest']}." if info.get("image_digest") else ".")
    if info.get("package_type"):
        return text + " This run's function was deployed as a zip file, without ECR."
    return text + " The run does not tell whether the function was deployed from an image."


def _compared(summary: Summary, anatomies: Anatomies) -> str:
    cold, warm = summary["cold_ms"], summary["warm_ms"]
    if not cold["n"] or not warm["n"]:
        which = "cold" if not cold["n"] else "warm"
        text = f"This run has no request known to be {which}, so the two cannot be compared."
        if summary["explained_by_setup"]:
            number = count(summary["explained_by_setup"], "slow first request")
            text += f" Opening connections alone explains the {number}."
        return text
    text = f"Cold requests took {_spread(cold, summary['cold_ms_interval'])}, warm ones "
    text += f"{_spread(warm, summary['warm_ms_interval'])}: {cold['p50'] / warm['p50']:,.1f} times as long."
    share = percent(summary["cold"], summary["requests"])
    text += f" {summary['cold']:,} of {summary['requests']:,} requests ({share}) were cold"
    if summary["last_cold_s"] is not None:
        text += f", the last one answered {summary['last_cold_s']:.1f} s after the beginning"
    text += "."
    tail = summary["tail_cold_share"]["p99"]
    if tail is not None:
        text += f" Of the requests above p99, {100 * tail:.0f}% were cold."
    parts = mean_parts(anatomies)
    if parts:
        name, longest_ms = max(parts.items(), key=lambda part: part[1])
        text += f" The largest part of a cold start was {name} ({duration(longest_ms)} on average)."
    audit = summary["guess_audit"]
    if audit and audit["precision"] is not None and audit["recall"] is not None and audit["guessed"]:
        text += (
            f" Calling everything before {audit['cold_start_end_time_s']:.0f} s cold, as an eye would, is right for "
            f"{100 * audit['precision']:.0f}% of what it calls cold and finds {100 * audit['recall']:.0f}% of the cold."
        )
    return text


def _spread(times: Mapping[str, Any], interval: Mapping[str, Any]) -> str:
    text = f"{duration(times['p50'])} (median"
    if interval["p50"] is not None:
        low, high = interval["p50"]
        text += f", 95% interval {duration(low)} to {duration(high)}"
    return f"{text}; p95 {duration(times['p95'])})"


def _strategies(summary: Summary, anatomies: Anatomies) -> str:
    parts, cost = mean_parts(anatomies), summary["costs"]
    if not summary["cold"]:
        text = "No request of this run is known to have been cold, so nothing needs to be removed on its account."
    else:
        text = f"{count(summary['cold'], 'request')} of this run paid for a start"
        worst = summary["cold_ms"]["max"]
        text += f", {duration(worst)} at worst." if worst is not None else "."
    starts = {name: ms for name, ms in parts.items() if "import" in name or name in ("initialisation", "process start")}
    if starts:
        whole = sum(starts.values())
        text += f" {duration(whole)} of a cold start is initialisation: fewer and lighter imports and a smaller model"
        text += " format shorten it, a snapshot taken after it (SnapStart) replaces it by a restore."
    if cost is not None:
        hour_usd = cost["one_provisioned_environment_hour_usd"]
        init_usd = cost["parts_usd"]["of_it_initialisation"]
        text += f" Provisioned concurrency keeps an environment ready for ${hour_usd:.4f}"
        text += f" an hour ({cost['region']}, prices of {cost['prices_of']}); requests as in this run cost"
        text += f" ${cost['per_million_requests_usd']:.2f} a million, ${init_usd:.2f} of it"
        text += " initialisation."
    if summary["connection_setup_ms"]["n"]:
        text += " Keeping connections open saves every client its set-up, which no strategy against cold starts does."
    return text
