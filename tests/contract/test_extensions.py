"""Extensions and the Telemetry API: an external extension in a layer, beside a real Python function."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from contract_core import Core, base_of_session, eventually
from extension_probe import SOURCE as EXTENSION
from extension_probe import write_layer

from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.execution.socket_channel import SocketTransport
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.network import isolated
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.runtimes import Runtimes

pytestmark = pytest.mark.anyio

SOURCE = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    print("from the handler")
    if event == "exit": os._exit(3)
    if event == "raise": raise ValueError("boom")
    if event == "sleep": time.sleep(60)
    return count
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    return Runtimes(tmp_path_factory.mktemp("runtimes"))


@pytest.fixture
async def core(tmp_path: Path, runtimes: Runtimes) -> AsyncIterator[Core]:
    """One environment at most: a request that comes while its extensions are at work waits for them."""
    factory = ProcessFactory(tmp_path / "env", runtimes)
    made = Core(tmp_path, factory, SocketTransport(), max_environments=1)
    yield made
    await made.invoker.shut_down()
    made.close()
    await eventually(lambda: not factory.cgroups.left_over() or all(g.remove() for g in factory.cgroups.left_over()))
    factory.close()


def deploy(core: Core, *names: str, text: str = "", mode: int = 0o755, **wish: Any) -> None:
    layer = core.directory / "layer"
    if not layer.exists():
        write_layer(layer, *(names or ("probe",)), text=text, mode=mode)
    variables = {"PROBE": json.dumps(wish), "MODEL": "iris"}
    core.deploy(SOURCE, layer_dirs=(str(layer),), environment=variables, timeout_s=wish.pop("timeout_s", 20))


def said(core: Core) -> list[dict[str, Any]]:
    """What the probes said, in order."""
    return [json.loads(line) for line in core.logs.messages() if line.startswith('{"probe"')]


def events(core: Core, kind: str) -> list[dict[str, Any]]:
    return [word["event"] for word in said(core) if word.get("event", {}).get("eventType") == kind]


def heard(core: Core, kind: str) -> list[Any]:
    found = [word["heard"] for word in said(core) if "heard" in word]
    return [event["record"] for event in found if event["type"] == kind]


def lines(core: Core, start: str) -> list[str]:
    found = [line for line in core.logs.messages() if line.startswith(start)]
    return [re.sub(r"[\d.]+ ms", "N ms", line) for line in found]


async def test_an_extension_is_registered_before_the_runtime_and_hears_every_invoke(core: Core) -> None:
    deploy(core, "one", "two")
    first = await core.call(trace_id="Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1")
    assert msgspec.json.decode((await core.call()).payload) == 2
    await eventually(lambda: len(lines(core, "REPORT")) == 2)
    registered = [word for word in said(core) if "registered" in word]
    assert sorted(word["probe"] for word in registered) == ["one", "two"]
    facts = {"functionName": "fn", "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000"}
    for word in registered:
        assert word["registered"] == [200, facts]
        assert (word["variables"], word["model"], word["opt"], word["task"]) == ([], "iris", True, ["app.py"])
    assert lines(core, "EXTENSION") == [
        f"EXTENSION\tName: {name}\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" for name in ("one", "two")
    ]
    invokes = events(core, "INVOKE")
    assert len(invokes) == 4
    event = invokes[0]
    assert (event["requestId"], event["invokedFunctionArn"]) == (first.request_id, core.function.arn)
    assert event["tracing"]["value"].startswith("Root=1-5bef4de7")
    assert event["deadlineMs"] > time.time() * 1000 - 20_000
    order = [line.split(" ")[0].split("\t")[0] for line in core.logs.messages() if not line.startswith("{")]
    assert order == ["INIT_START", "EXTENSION", "EXTENSION", *("START", "from", "END", "REPORT") * 2]


async def test_the_answer_does_not_wait_for_extensions_but_the_environment_does(core: Core) -> None:
    deploy(core, work_s=0.5)
    assert (await core.call()).payload == b"1"
    (environment,) = core.invoker.pools[0].environments.values()
    assert environment.state == "invoke"
    assert not lines(core, "REPORT")
    assert (await core.call()).payload == b"2"
    assert core.records("invocation")[0]["duration_ms"] > 400


async def test_extensions_count_against_the_functions_timeout(core: Core) -> None:
    deploy(core, work_s=60, timeout_s=2)
    assert (await core.call()).payload == b"1"
    await eventually(lambda: bool(lines(core, "REPORT")))
    assert lines(core, "REPORT")[0].endswith("\tStatus: timeout\n")
    assert core.records("invocation")[0]["status"] == "timeout"
    assert (await core.call()).payload == b"1"  # a new runtime


async def test_shutdown_is_told_with_its_reason_and_waits_for_extensions(core: Core) -> None:
    deploy(core, linger_s=0.3)
    await core.call()
    (environment,) = core.invoker.pools[0].environments.values()
    await eventually(lambda: environment.frozen)
    await core.invoker.shut_down()
    (event,) = events(core, "SHUTDOWN")
    assert event["shutdownReason"] == "spindown"
    assert abs(event["deadlineMs"] - time.time() * 1000) < 5_000
    assert said(core)[-1] == {"probe": "probe", "bye": True}


async def test_the_shutdown_phase_has_a_limit(core: Core) -> None:
    deploy(core, linger_s=60)
    await core.call()
    began = time.monotonic()
    await core.invoker.shut_down()
    assert 1.0 < time.monotonic() - began < 10
    assert "bye" not in said(core)[-1]


@pytest.mark.parametrize(
    ("event", "reason", "error_type"),
    [("exit", "failure", "Runtime.ExitError"), ("sleep", "timeout", "Sandbox.Timedout")],
)
async def test_a_reset_is_a_shutdown_and_extensions_start_again(
    core: Core, event: str, reason: str, error_type: str
) -> None:
    deploy(core, timeout_s=2)
    result = await core.call(event)
    assert msgspec.json.decode(result.payload)["errorType"] == error_type
    assert (await core.call()).payload == b"1"
    assert [told["shutdownReason"] for told in events(core, "SHUTDOWN")] == [reason]
    assert len([word for word in said(core) if "registered" in word]) == 2
    assert len(core.records("environment_started")) == 1


@pytest.mark.parametrize(
    ("wish", "error_type", "why", "state"),
    [
        ({"crash": "start"}, "Extension.Crash", "exit status 7", "Started"),
        ({"crash": "init"}, "Extension.Crash", "signal: 9", "Registered"),
        ({"error": "init"}, "Extension.InitError", "Probe.Unhappy", "InitError"),
        ({"error": "exit"}, "Extension.ExitError", "Probe.Unhappy", "ExitError"),
    ],
)
async def test_an_extension_that_fails_at_init_fails_it(
    core: Core, wish: dict[str, Any], error_type: str, why: str, state: str
) -> None:
    deploy(core, **wish)
    result = await core.call()
    error = msgspec.json.decode(result.payload)
    assert error["errorType"] == error_type
    assert error["errorMessage"].startswith(f"RequestId: {result.request_id} Error: {why}")
    assert lines(core, "INIT_REPORT") == [
        f"INIT_REPORT Init Duration: N ms\tPhase: {phase}\tStatus: error\tError Type: {error_type}\n"
        for phase in ("init", "invoke")
    ]
    assert lines(core, "EXTENSION")[0].startswith(f"EXTENSION\tName: probe\tState: {state}\tEvents: [")
    assert lines(core, "REPORT")[0].endswith(f"\tStatus: error\tError Type: {error_type}\n")


async def test_an_extension_that_cannot_be_started_is_a_launch_error(core: Core) -> None:
    deploy(core, text="#!/nowhere/at/all\n")
    result = await core.call()
    assert msgspec.json.decode(result.payload)["errorType"] == "Extension.LaunchError"
    assert any("fork/exec /opt/extensions/probe: no such file or directory" in line for line in core.logs.messages())


async def test_an_extension_that_crashes_in_an_invoke_resets_the_environment(core: Core) -> None:
    deploy(core, crash="invoke")
    await core.call("sleep")
    assert core.records("invocation")[0]["error_type"] == "Extension.Crash"
    assert lines(core, "REPORT")[0].endswith("\tStatus: error\tError Type: Extension.Crash\n")


async def test_telemetry_reaches_a_subscriber(core: Core) -> None:
    deploy(core, telemetry=["platform", "function"])
    first = await core.call()
    await core.call("raise")
    await core.invoker.shut_down()
    assert said(core)[1]["subscribed"] == [200, "OK"]
    assert lines(core, "TELEMETRY") == ["TELEMETRY\tName: probe\tState: Subscribed\tTypes: [Platform, Function]\n"]
    (init_start,) = heard(core, "platform.initStart")
    assert (init_start["initializationType"], init_start["phase"]) == ("on-demand", "init")
    assert heard(core, "platform.initRuntimeDone")[0]["status"] == "success"
    (init_report,) = heard(core, "platform.initReport")
    assert init_report["metrics"]["durationMs"] == pytest.approx(core.records("init_done")[0]["init_ms"], abs=0.01)
    subscription = {"name": "probe", "state": "Subscribed", "types": ["platform", "function"]}
    assert heard(core, "platform.telemetrySubscription") == [subscription]
    assert heard(core, "platform.extension") == [{"name": "probe", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}]
    starts, done, reports = (heard(core, f"platform.{kind}") for kind in ("start", "runtimeDone", "report"))
    assert starts[0]["requestId"] == first.request_id
    assert [record["status"] for record in done] == ["success", "error"]
    assert done[0]["metrics"]["producedBytes"] == 1
    assert [record["status"] for record in reports] == ["success", "error"]
    assert reports[0]["metrics"]["initDurationMs"] == core.records("invocation")[0]["init_ms"]
    assert reports[1]["metrics"]["maxMemoryUsedMB"] > 5
    assert heard(core, "function").count("from the handler\n") == 2


async def test_an_extensions_own_output_is_another_type_and_json_lines_are_objects(core: Core) -> None:
    deploy(core, telemetry=["function", "extension"])
    core.deploy(
        "import logging\ndef handler(event, context):\n    logging.getLogger().warning('loud')\n",
        layer_dirs=core.function.layer_dirs,
        environment=core.function.environment,
        log_format="JSON",
        application_log_level="INFO",
        system_log_level="INFO",
    )
    await core.call()
    await core.invoker.shut_down()
    assert [record["message"] for record in heard(core, "function")] == ["loud"]
    assert heard(core, "extension")[0]["registered"][0] == 200
    assert not heard(core, "platform.start")
    kinds = [json.loads(line).get("type") for line in core.logs.messages()]
    assert "platform.extension" in kinds
    assert "platform.telemetrySubscription" in kinds


def write_script(core: Core, name: str, text: str) -> None:
    path = core.directory / "layer" / name
    path.write_text(text)
    path.chmod(0o755)


async def test_a_wrapper_script_of_a_layer_stands_before_the_runtime(core: Core) -> None:
    (core.directory / "layer").mkdir()
    write_script(core, "wrap", '#!/bin/sh\nexport WRAPPED="$#"\necho wrapping\nexec "$@"\n')
    core.deploy(
        "import os, shared\ndef handler(event, context):\n    return [os.environ['WRAPPED'], shared.__file__]\n",
        layer_dirs=(str(core.directory / "layer"),),
        environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"},
    )
    (core.directory / "layer" / "python").mkdir()
    (core.directory / "layer" / "python" / "shared.py").write_text("")
    assert await core.value() == ["3", "/opt/python/shared.py"]
    assert "wrapping\n" in core.logs.messages()


async def test_a_wrapper_that_is_not_there_ends_the_runtime(core: Core) -> None:
    core.deploy(SOURCE, environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/nothing"})
    error = msgspec.json.decode((await core.call()).payload)
    assert error["errorMessage"].endswith("Error: Runtime exited with error: exit status 127")
    assert "/opt/nothing: No such file or directory\n" in core.logs.messages()


ADAPTER = """#!%(python)s
import http.client, json, os, threading
HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
def ask(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(HOST)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return dict(answer.getheaders()), answer.read()
name = {"Lambda-Extension-Name": os.path.basename(__file__)}
headers, _ = ask("POST", "/2020-01-01/extension/register", json.dumps({"events": []}), name)
identity = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
waiting = threading.Thread(target=ask, args=("GET", "/2020-01-01/extension/event/next", None, identity), daemon=True)
waiting.start()
while True:
    headers, event = ask("GET", "/2018-06-01/runtime/invocation/next")
    path = "/2018-06-01/runtime/invocation/" + headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    ask("POST", path, b'{"seen": ' + event + b"}")
"""


async def test_an_extension_may_be_the_runtime_of_a_program_that_is_none(core: Core) -> None:
    """As the Lambda Web Adapter is, before a web server."""
    write_layer(core.directory / "layer", "adapter", text=ADAPTER % {"python": sys.executable})
    write_script(core, "bootstrap", "#!/bin/sh\nexec sleep 600\n")
    core.deploy(
        "",
        layer_dirs=(str(core.directory / "layer"),),
        environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap"},
    )
    assert await core.value(1) == {"seen": 1}
    assert await core.value(2) == {"seen": 2}
    assert lines(core, "EXTENSION") == ["EXTENSION\tName: adapter\tState: Ready\tEvents: []\n"]


@pytest.mark.skipif(unusable() is not None, reason="takes root and runc (preheat doctor says so)")
async def test_an_images_own_extensions_are_started_beside_its_entry_point(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    factory = ContainerFactory(tmp_path / "env")
    core = Core(tmp_path, factory, RuntimeApiTransport(isolated), base=base_of_session(tmp_path_factory.getbasetemp()))
    function = core.deploy(SOURCE.replace('print("from the handler")', ""))  # the shell's children share one output
    assert function.image is not None
    write_layer(Path(function.image.layers[-1], "opt"), "probe", text=EXTENSION % {"python": "/var/lang/bin/python3"})
    core.function = replace(function, revision_id="extended")
    try:
        assert (await core.call()).payload == b"1"
        assert (await core.call()).payload == b"2"
        await eventually(lambda: len(lines(core, "REPORT")) == 2)
        assert lines(core, "EXTENSION") == ["EXTENSION\tName: probe\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n"]
        assert len(events(core, "INVOKE")) == 2
        await core.invoker.shut_down()
        assert said(core)[-1] == {"probe": "probe", "bye": True}
    finally:
        core.close()
        factory.close()
