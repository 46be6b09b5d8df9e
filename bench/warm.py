"""Sequential rows: warm requests against FastAPI and RIE, and what the gateway adds to a direct Invoke."""

from __future__ import annotations

import json
from collections.abc import Callable

from bench import peers
from bench.client import Connection, http_request, keep_alive_ms, new_connection_ms
from bench.cloud import Cloud, Deployed
from bench.peers import Workload
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import difference, ratio

WARM_UP = 200
Sampler = Callable[[int], list[float]]


def in_rounds(first: Sampler, second: Sampler, rounds: int, each: int) -> tuple[list[list[float]], list[list[float]]]:
    """Both sides in every round, `each` samples a side; which goes first changes from round to round."""
    first(WARM_UP)
    second(WARM_UP)
    ones: list[list[float]] = []
    others: list[list[float]] = []
    for number in range(rounds):
        if number % 2:
            others.append(second(each))
            ones.append(first(each))
        else:
            ones.append(first(each))
            others.append(second(each))
    return ones, others


def check_same_answer(ours: bytes, theirs: bytes, peer: str) -> None:
    """A peer that answers something else would be measured at other work."""
    if json.loads(ours) != json.loads(theirs):
        raise RuntimeError(f"{peer} answers differently: {theirs[:200]!r}, Preheat: {ours[:200]!r}")


def over_fastapi(cloud: Cloud, deployed: Deployed, workload: Workload, size: Size) -> Result:
    ours = http_request("POST", deployed.path, workload.body)
    theirs = http_request("POST", "/default/iris", workload.body)
    with peers.fastapi(workload, 1) as port, Connection(cloud.port) as preheat, Connection(port) as fastapi:
        check_same_answer(preheat.send(ours), fastapi.send(theirs), "FastAPI")
        left, right = in_rounds(
            lambda count: keep_alive_ms(preheat, ours, count),
            lambda count: keep_alive_ms(fastapi, theirs, count),
            size.warm_rounds,
            size.warm_each,
        )
    return comparison("warm_p50_over_fastapi", ratio, ("Preheat", left), ("FastAPI", right), "ms")


def over_rie(cloud: Cloud, deployed: Deployed, workload: Workload, size: Size) -> Result:
    """Invoke on both sides, a new connection per request: RIE does not survive two at once."""
    ours = http_request("POST", deployed.invoke_path, workload.body, close=True)
    theirs = http_request("POST", peers.INVOKE_PATH, workload.body, close=True)
    with peers.rie(workload) as port:
        with Connection(cloud.port) as preheat, Connection(port) as rie:
            check_same_answer(preheat.send(ours), rie.send(theirs), "RIE")
        left, right = in_rounds(
            lambda count: new_connection_ms(cloud.port, ours, count),
            lambda count: new_connection_ms(port, theirs, count),
            size.warm_rounds,
            size.warm_each,
        )
    return comparison("warm_p50_over_rie", ratio, ("Preheat", left), ("RIE", right), "ms")


def gateway_overhead(cloud: Cloud, deployed: Deployed, workload: Workload, size: Size) -> Result:
    """The same request through the gateway and through Invoke, each on a connection of its own, in microseconds."""
    through = http_request("POST", deployed.path, workload.body)
    direct = http_request("POST", deployed.invoke_path, workload.body)
    with Connection(cloud.port) as one, Connection(cloud.port) as other:
        left, right = in_rounds(
            lambda count: [ms * 1000 for ms in keep_alive_ms(one, through, count)],
            lambda count: [ms * 1000 for ms in keep_alive_ms(other, direct, count)],
            size.warm_rounds,
            size.warm_each,
        )
    return comparison("gateway_overhead_us", difference, ("gateway", left), ("Invoke", right), "us")
