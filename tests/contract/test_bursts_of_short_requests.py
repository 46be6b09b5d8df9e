"""Requests that wait are sent to busy runtimes ahead of their turn: nobody may be able to tell."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract_core import Core

from preheat.execution.socket_channel import SocketTransport
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.runtimes import Runtimes

pytestmark = pytest.mark.anyio

HANDLER = """
import os, time
busy = False
def handler(event, context):
    global busy
    assert not busy, "two requests at once"
    busy = True
    if event.get("prints"):
        print("printed by", event["number"])
        os.write(1, b"without an end of line by %d" % event["number"])
    if event.get("exits"):
        os._exit(3)
    if event.get("sleeps"):
        time.sleep(event["sleeps"])
    busy = False
    return [event["number"], os.getpid(), context.get_remaining_time_in_millis()]
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    return Runtimes(tmp_path_factory.mktemp("runtimes"))


@pytest.fixture
async def core(tmp_path: Path, runtimes: Runtimes) -> AsyncIterator[Core]:
    factory = ProcessFactory(tmp_path / "environments", runtimes)
    core = Core(tmp_path, factory, SocketTransport(), max_environments=2)
    core.deploy(HANDLER, timeout_s=5)
    await asyncio.gather(*(core.value({"number": 0}) for _ in range(8)))
    yield core
    core.close()
    factory.close()


def sent_ahead(core: Core) -> int:
    return sum(len(pool._ahead) for pool in core.invoker.pools)


async def test_every_request_has_its_own_answer_and_its_own_lines_in_the_log(core: Core) -> None:
    prints = random.Random(1)
    events = [{"number": number, "prints": prints.random() < 0.5} for number in range(1, 400)]
    answers = [core.start(event) for event in events]
    ahead = 0
    while not all(answer.done() for answer in answers):
        ahead = max(ahead, sent_ahead(core))
        await asyncio.sleep(0)
    assert ahead  # else this test says nothing
    for event, answer in zip(events, answers, strict=True):
        assert re.match(rb"\[%d, " % event["number"], answer.result().payload)
    by_request = dict(zip((a.result().request_id for a in answers), events, strict=True))
    for stream in core.logs.invoked():
        current, lines = "", []
        for _, message in stream:
            if message.startswith("START"):
                assert not current, "a request began inside another"
                current, lines = message.split()[2], []
            elif message.startswith("REPORT"):
                if current in by_request:
                    number = by_request[current]["number"]
                    printed = [f"printed by {number}\n", f"without an end of line by {number}"]
                    assert lines == (printed if by_request[current]["prints"] else [])
                current = ""
            elif current and not message.startswith("END"):
                lines.append(message)


async def test_nobody_waits_behind_a_request_that_takes_long(core: Core) -> None:
    slow = {"number": 1000, "sleeps": 1.5}
    events = [{"number": number} for number in range(1, 60)]
    answers = [core.start(event) for event in [*events[:20], slow, *events[20:]]]
    done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_EXCEPTION)
    finished = {record["request_id"]: record["finished_ns"] for record in core.records("invocation")}
    last = finished[answers[20].result().request_id]
    others = [finished[a.result().request_id] for a in answers if a is not answers[20]]
    assert len(done) == 60
    assert max(others) < last


async def test_a_runtime_that_dies_takes_only_the_request_it_was_serving_with_it(core: Core) -> None:
    events = [{"number": number, "exits": number % 40 == 7} for number in range(1, 121)]
    results = await asyncio.gather(*(core.start(event) for event in events))
    for event, result in zip(events, results, strict=True):
        if event["exits"]:
            assert b"Runtime exited with error: exit status 3" in result.payload
        else:
            assert result.function_error is None, (event, result.payload)
    assert len(core.records("invocation")) == 8 + len(events)


async def test_the_time_limit_is_each_requests_own(core: Core) -> None:
    core.deploy(HANDLER, timeout_s=1)
    await asyncio.gather(*(core.value({"number": 0}) for _ in range(8)))
    events = [{"number": number, "sleeps": 60 if number == 20 else 0} for number in range(1, 60)]
    results = await asyncio.gather(*(core.start(event) for event in events))
    timed_out = [event["number"] for event, result in zip(events, results, strict=True) if result.function_error]
    assert timed_out == [20]
    assert b"Task timed out after 1.00 seconds" in results[19].payload


async def test_closing_answers_or_cancels_everyone(core: Core) -> None:
    answers = [core.start({"number": number}) for number in range(200)]
    while not sent_ahead(core):
        await asyncio.sleep(0)
    core.close()
    await asyncio.wait(answers, timeout=10)
    assert all(answer.done() for answer in answers)
