"""Custom runtimes (provided.al2023) and what only they can do: stream their responses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from contract_core import Core, base_of_session, eventually
from custom_runtime import BOOTSTRAP, write_bootstrap

from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.execution.socket_channel import SocketTransport
from preheat.kernel.function import InvokeResult
from preheat.kernel.stream import ResponseStream
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.network import isolated
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.runtimes import Runtimes

pytestmark = pytest.mark.anyio
MB = 2**20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """The transport is the socket: a custom runtime gets HTTP all the same."""
    factory = ProcessFactory(tmp_path / "env", Runtimes(tmp_path / "runtimes"))
    made = Core(tmp_path, factory, SocketTransport())
    yield made
    made.close()
    await eventually(lambda: not factory.cgroups.left_over() or all(g.remove() for g in factory.cgroups.left_over()))
    factory.close()


def deploy(core: Core, bootstrap: str = "", mode: int = 0o755, **options: Any) -> None:
    function = core.deploy("", runtime="provided.al2023", **options)
    write_bootstrap(function.code_dir, bootstrap, mode)


def streaming(core: Core, event: Any) -> tuple[asyncio.Future[InvokeResult], ResponseStream]:
    stream = ResponseStream()
    answer = core.start(event, stream=stream)
    answer.add_done_callback(lambda _: stream.end())
    return answer, stream


async def collected(stream: ResponseStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_a_bootstrap_serves_and_keeps_its_state(core: Core) -> None:
    deploy(core, environment={"MODEL": "iris"})
    first, second = await core.value({"whole": 1}), await core.value({"whole": 1})
    assert (first["count"], second["count"]) == (1, 2)
    assert (first["cwd"], first["environ"]["LAMBDA_TASK_ROOT"]) == ("/var/task", "/var/task")
    assert first["environ"]["MODEL"] == "iris"
    assert first["environ"]["_HANDLER"] == "app.handler"
    assert first["environ"]["LAMBDA_RUNTIME_DIR"] == "/var/runtime"
    assert first["environ"]["LD_LIBRARY_PATH"].startswith("/var/task:/var/task/lib")
    assert "AWS_EXECUTION_ENV" not in first["environ"]
    lines = core.logs.text()
    assert lines.startswith("INIT_START Runtime Version: provided:al2023.preheat\t")
    assert [record["cold"] for record in core.records("invocation")] == [True, False]


async def test_a_layers_bootstrap_is_found(core: Core, tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    write_bootstrap(str(tmp_path / "layer"))
    core.deploy("", runtime="provided.al2", layer_dirs=(str(tmp_path / "layer"),))
    assert (await core.value({"whole": 1}))["count"] == 1


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (None, 0, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ("#!/bin/sh\n", 0o644, "fork/exec /var/task/bootstrap: permission denied"),
        ("\0not a program", 0o755, "fork/exec /var/task/bootstrap: exec format error"),
        ("#!/nowhere/python\n", 0o755, "fork/exec /var/task/bootstrap: no such file or directory"),
    ],
)
async def test_what_cannot_be_started_is_an_invalid_entrypoint(
    core: Core, text: str | None, mode: int, why: str
) -> None:
    core.deploy("", runtime="provided.al2023")
    if text is not None:
        write_bootstrap(core.function.code_dir, text, mode)
    result = await core.call()
    error = msgspec.json.decode(result.payload)
    assert error == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {result.request_id} Error: {why}",
    }
    reports = [line for line in core.logs.messages() if line.startswith("INIT_REPORT")]
    assert [re.sub(r"[\d.]+ ms", "N ms", line) for line in reports] == [
        f"INIT_REPORT Init Duration: N ms\tPhase: {phase}\tStatus: error\tError Type: Runtime.InvalidEntrypoint\n"
        for phase in ("init", "invoke")
    ]


@pytest.mark.parametrize(
    ("bootstrap", "why"),
    [
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\nkill -9 $$\n", "signal: killed"),
        ("#!/bin/sh\nkill -15 $$\n", "signal: terminated"),
    ],
)
async def test_a_bootstrap_that_ends_is_told_from_what_ended_it(core: Core, bootstrap: str, why: str) -> None:
    deploy(core, bootstrap)
    result = await core.call()
    error = msgspec.json.decode(result.payload)
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"] == f"RequestId: {result.request_id} Error: Runtime exited with error: {why}"


async def test_a_bootstrap_that_hangs_ends_at_the_limit(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preheat.execution.environment.INIT_LIMIT_S", 0.3)
    deploy(core, "#!/bin/sh\ntrap '' TERM\nsleep 600\n", timeout_s=1)
    result = await core.call()
    assert b"Task timed out after 1.00 seconds" in result.payload
    assert [record["status"] for record in core.records("init_done")] == ["timeout", "timeout"]


async def test_a_response_is_there_while_the_function_still_writes(core: Core) -> None:
    deploy(core)
    answer, stream = streaming(core, {"chunks": ["one", "two"], "sleep": 0.2, "type": "text/event-stream"})
    assert await stream.started()
    assert (stream.content_type, stream.version) == ("text/event-stream", "$LATEST")
    assert await anext(stream) == b"one"
    assert not answer.done()
    assert await collected(stream) == b"two"
    result = await answer
    assert (result.payload, result.function_error) == (b"", None)
    assert stream.size == 6


async def test_without_a_stream_the_response_is_collected_up_to_six_megabytes(core: Core) -> None:
    deploy(core)
    result = await core.call({"chunks": ["one", "two"]})
    assert (result.payload, result.function_error) == (b"onetwo", None)
    limit = 6_291_556
    assert len((await core.call({"size": limit})).payload) == limit
    over = await core.call({"size": limit + 1})
    assert msgspec.json.decode(over.payload)["errorType"] == "Function.ResponseSizeTooLarge"
    assert (await core.call({"chunks": ["again"]})).payload == b"again"


async def test_a_function_that_does_not_stream_leaves_its_payload_in_the_result(core: Core) -> None:
    deploy(core)
    answer, stream = streaming(core, {"whole": 1})
    assert not await stream.started()
    assert msgspec.json.decode((await answer).payload)["count"] == 1


async def test_an_error_in_the_trailers_ends_the_stream_and_keeps_the_environment(core: Core) -> None:
    deploy(core)
    answer, stream = streaming(core, {"chunks": ["half"], "error": "Model.Broken"})
    assert await collected(stream) == b"half"
    result = await answer
    assert result.function_error == "Unhandled"
    assert msgspec.json.decode(result.payload) == {"errorType": "Model.Broken", "errorMessage": "in the middle"}
    assert core.records("invocation")[0]["error_type"] == "Model.Broken"
    whole = await core.call({"chunks": ["half"], "error": "Model.Broken"})
    assert (whole.function_error, msgspec.json.decode(whole.payload)["errorType"]) == ("Unhandled", "Model.Broken")
    assert len(core.records("environment_started")) == 1


@pytest.mark.parametrize(
    ("event", "error_type"),
    [
        ({"chunks": ["half"], "exit": 5}, "Runtime.ExitError"),
        ({"chunks": ["half"], "break": True}, "Runtime.TruncatedResponse"),
        ({"chunks": ["half"], "sleep": 60}, "Sandbox.Timedout"),
    ],
)
async def test_a_stream_that_breaks_off_is_an_error(core: Core, event: Any, error_type: str) -> None:
    deploy(core, timeout_s=1 if "sleep" in event else 30)
    answer, stream = streaming(core, event)
    assert await collected(stream) == b"half"
    result = await answer
    assert (result.function_error, msgspec.json.decode(result.payload)["errorType"]) == ("Unhandled", error_type)
    assert await collected(streaming(core, {"chunks": ["again"]})[1]) == b"again"


async def test_an_unknown_response_mode_is_refused(core: Core) -> None:
    deploy(core)
    result = await core.call({"chunks": ["x"], "mode": "sideways"})
    assert msgspec.json.decode(result.payload)["errorType"] == "Runtime.InvalidResponseModeHeader"
    await core.call({"chunks": ["again"]})  # before it the runtime has had its answer
    assert "status 400\n" in core.logs.messages()


async def test_a_slow_reader_slows_the_function_down_and_costs_no_memory(core: Core) -> None:
    deploy(core)
    answer, stream = streaming(core, {"size": 30 * MB})
    assert len(await anext(stream)) > 0
    before = -1
    while stream.size != before:  # until everybody between the two waits
        before = stream.size
        await asyncio.sleep(0.2)
    assert before < 4 * MB
    assert not answer.done()
    assert len(await collected(stream)) > 25 * MB
    assert stream.size == 30 * MB
    assert (await answer).function_error is None


async def test_a_reader_who_leaves_does_not_stop_the_function(core: Core) -> None:
    deploy(core)
    answer, stream = streaming(core, {"size": 30 * MB})
    await anext(stream)
    await stream.aclose()
    assert (await answer).function_error is None
    assert stream.size == 30 * MB
    (record,) = core.records("invocation")
    assert record["status"] == "ok"
    assert core.logs.messages()[-1].startswith("REPORT")


async def test_a_stream_past_the_limit_is_cut_and_said_so(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preheat.execution.payloads.MAX_STREAM_BYTES", MB)
    deploy(core)
    answer, stream = streaming(core, {"size": MB})
    assert len(await collected(stream)) == MB
    assert (await answer).function_error is None
    answer, stream = streaming(core, {"size": MB + 1})
    assert len(await collected(stream)) == MB
    assert msgspec.json.decode((await answer).payload)["errorType"] == "Function.ResponseSizeTooLarge"
    await core.call({"chunks": ["again"]})
    assert "status 413\n" in core.logs.messages()


@pytest.mark.skipif(unusable() is not None, reason="takes root and runc (preheat doctor says so)")
async def test_an_image_streams_as_well(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    factory = ContainerFactory(tmp_path / "env")
    core = Core(tmp_path, factory, RuntimeApiTransport(isolated), base=base_of_session(tmp_path_factory.getbasetemp()))
    function = core.deploy("")
    assert function.image is not None
    write_bootstrap(f"{function.image.layers[-1]}/var/task", BOOTSTRAP % {"python": "/var/lang/bin/python3"})
    image = replace(function.image, command=("/var/task/bootstrap",))
    core.function = replace(function, image=image, revision_id="streaming")
    try:
        answer, stream = streaming(core, {"chunks": ["one", "two"]})
        assert await collected(stream) == b"onetwo"
        assert (await answer).function_error is None
    finally:
        core.close()
        factory.close()
