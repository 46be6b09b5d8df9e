"""One suite for every sandbox and every transport: what an execution environment promises.

A combination that cannot keep a promise by its nature (the fake is a thread) is left out by name, below,
next to the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from contract_core import Core, eventually
from registry_tools import Docker

from preheat.execution.channel import Transport
from preheat.execution.runtime_api import RuntimeApiTransport
from preheat.execution.socket_channel import SocketTransport
from preheat.kernel.errors import AwsError, PreheatError
from preheat.kernel.function import LogEvent
from preheat.kernel.interpreters import interpreter
from preheat.sandbox.cgroup import hierarchies
from preheat.sandbox.container import ContainerFactory, unusable
from preheat.sandbox.docker import DockerFactory, engine
from preheat.sandbox.fake import FakeFactory
from preheat.sandbox.network import isolated
from preheat.sandbox.process import ProcessFactory
from preheat.sandbox.protocol import SandboxFactory
from preheat.sandbox.runtimes import Runtimes

pytestmark = pytest.mark.anyio

PROCESS = ["process-socket", "process-http"]
CONTAINER = ["container-http"] if unusable() is None else []  # takes root and runc (preheat doctor says so)
DOCKER = ["docker-http"] if Docker.can_start() else []  # takes root and Debian's docker.io
PLAIN = [*PROCESS, *CONTAINER, *DOCKER]
IMAGE_RESTORED = ["image_snapshot-socket"] if CONTAINER else []
ZIP_RESTORED = ["snapshot-socket", "snapshot-http"]
RESTORED = [*ZIP_RESTORED, *IMAGE_RESTORED]
REAL = [*PLAIN, *RESTORED]
KINDS = [*REAL, "fake-socket"]

BASIC = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    if event == "raise":
        raise ValueError("boom")
    if event == "exit":
        raise SystemExit(3)
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    return {"event": event, "count": count, "id": context.aws_request_id}
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    return Runtimes(tmp_path_factory.mktemp("runtimes"))


@pytest.fixture(params=KINDS)
async def core(
    request: pytest.FixtureRequest, tmp_path: Path, runtimes: Runtimes, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Core]:
    sandbox, _, wire = request.param.partition("-")
    factory: SandboxFactory = FakeFactory() if sandbox == "fake" else ProcessFactory(tmp_path / "env", runtimes)
    transport: Transport = SocketTransport() if wire == "socket" else RuntimeApiTransport()
    base = None
    if sandbox in ("container", "image_snapshot"):
        factory, transport = ContainerFactory(tmp_path / "env"), RuntimeApiTransport(place=isolated)
        base = request.getfixturevalue("base_image")
    if sandbox == "docker":
        docker: Docker = request.getfixturevalue("docker")
        factory = DockerFactory(tmp_path / "env", engine(docker.socket))
        factory.reap()
        base, transport = request.getfixturevalue("base_image"), RuntimeApiTransport(place=factory.place)
    made = Core(tmp_path, factory, transport, snap_start=sandbox.endswith("snapshot"), base=base)
    yield made
    made.close()
    await eventually(lambda: not owned(tmp_path))
    if isinstance(factory, DockerFactory):
        factory.close()
        await eventually(lambda: docker("ps", "--all", "--quiet").stdout == "")
        factory.images.keep([])
        assert docker("network", "ls", "--quiet", "--filter", f"label=preheat.data={factory.root}").stdout == ""
        assert docker("images", "--format", "{{.Repository}}").stdout == "base\n"
        assert not [record for record in caplog.records if record.name.startswith("preheat.sandbox.docker")]
    if isinstance(factory, ContainerFactory):
        factory.close()
        assert not [path for path in factory.cgroups.paths if path.exists()]
        assert not [record for record in caplog.records if record.name == "preheat.sandbox.host_process"]
    if isinstance(factory, ProcessFactory):
        await eventually(
            lambda: not factory.cgroups.left_over() or all(g.remove() for g in factory.cgroups.left_over())
        )
        factory.close()


only_initialised = pytest.mark.parametrize("core", [*PLAIN, "fake-socket"], indirect=True)
only_plain = pytest.mark.parametrize("core", PLAIN, indirect=True)
only_restored = pytest.mark.parametrize("core", RESTORED, indirect=True)
only_real = pytest.mark.parametrize("core", REAL, indirect=True)


async def test_state_is_kept_between_requests_of_one_environment(core: Core) -> None:
    core.deploy(BASIC)
    first, second = await core.value({"a": "é"}), await core.value(None)
    assert (first["event"], first["count"]) == ({"a": "é"}, 1)
    assert (second["event"], second["count"]) == (None, 2)
    assert first["id"] != second["id"]


@only_initialised
async def test_cold_is_an_environments_first_request_and_only_that(core: Core) -> None:
    core.deploy(BASIC)
    for _ in range(3):
        await core.value()
    invocations = core.records("invocation")
    assert [record["cold"] for record in invocations] == [True, False, False]
    (init,) = core.records("init_done")
    assert init["status"] == "ok"
    assert invocations[0]["init_ms"] == pytest.approx(init["init_ms"], abs=0.01)
    assert [record["init_ms"] for record in invocations[1:]] == [None, None]
    reports = [line for line in core.logs.text().splitlines() if line.startswith("REPORT")]
    assert ["Init Duration" in line for line in reports] == [True, False, False]
    assert f"Init Duration: {invocations[0]['init_ms']:.2f} ms" in reports[0]
    assert invocations[0]["billed_ms"] >= invocations[0]["duration_ms"] + invocations[0]["init_ms"] - 0.01


async def test_the_log_of_an_invocation_is_start_output_end_report(core: Core) -> None:
    core.deploy("def handler(event, context):\n    context.log('from the handler\\n')\n")
    result = await core.call()
    (events,) = core.logs.invoked()
    kinds = [message.split(" ")[0].rstrip("\n") for _, message in events]
    before = ["RESTORE_START", "RESTORE_REPORT"] if core.snap_start else ["INIT_START"]
    if core.base is not None and not core.snap_start:
        before = []  # of an image function AWS writes none
    assert kinds == [*before, "START", "from", "END", "REPORT"]
    assert result.log_tail.decode() == "".join(message for _, message in events[len(before) :])
    times = [at for at, _ in events]
    assert times == sorted(times)


async def test_a_handler_that_raises_keeps_its_environment(core: Core) -> None:
    core.deploy(BASIC)
    result = await core.call("raise")
    error = msgspec.json.decode(result.payload)
    assert result.function_error == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "boom")
    assert error["requestId"] == result.request_id
    assert error["stackTrace"]
    assert (await core.value())["count"] == 2
    assert len(core.records("environment_started")) == 1


async def test_an_exit_resets_the_environment_and_the_next_init_is_suppressed(core: Core) -> None:
    core.deploy(BASIC)
    await core.value()
    result = await core.call("exit")
    error = msgspec.json.decode(result.payload)
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"] == f"RequestId: {result.request_id} Error: Runtime exited with error: exit status 3"
    assert core.logs.text().endswith("\tStatus: error\tError Type: Runtime.ExitError\n")
    assert (await core.value())["count"] == 1  # a new runtime
    after = core.records("invocation")[-1]
    assert (after["cold"], after["init_ms"]) == (False, None)
    assert len(core.records("environment_started")) == 1


async def test_a_timeout_is_reported_at_exactly_the_limit(core: Core) -> None:
    core.deploy(BASIC, timeout_s=1)
    result = await core.call({"sleep": 4})
    error = msgspec.json.decode(result.payload)
    message = f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds"
    assert error == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    text = core.logs.text()
    assert re.search(rf"\d{{4}}-\S+Z {result.request_id} Task timed out after 1.00 seconds\n\n", text)
    assert "\tDuration: 1000.00 ms\tBilled Duration: " in text
    assert text.endswith("\tStatus: timeout\n")
    assert (await core.value())["count"] == 1


@only_initialised
async def test_a_broken_import_runs_twice_and_then_says_why(core: Core) -> None:
    core.deploy("raise RuntimeError('no model')\n")
    result = await core.call()
    error = msgspec.json.decode(result.payload)
    assert (error["errorType"], error["errorMessage"], error["requestId"]) == ("RuntimeError", "no model", "")
    lines = [line for line in core.logs.messages() if line.startswith("INIT_REPORT")]
    assert [re.sub(r"[\d.]+ ms", "N ms", line) for line in lines] == [
        "INIT_REPORT Init Duration: N ms\tPhase: init\tStatus: error\tError Type: RuntimeError\n",
        "INIT_REPORT Init Duration: N ms\tPhase: invoke\tStatus: error\tError Type: RuntimeError\n",
    ]


@only_initialised
async def test_a_burst_starts_no_more_inits_than_slots_and_serves_everyone(core: Core) -> None:
    core.deploy("import time\ntime.sleep(0.15)\n" + BASIC)
    answers = [core.start({"n": n}) for n in range(12)]
    most = 0
    while not all(answer.done() for answer in answers):
        most = max(most, sum(pool.load.starting for pool in core.invoker.pools))
        await asyncio.sleep(0.005)
    assert 1 <= most <= (os.cpu_count() or 1)
    assert sorted(msgspec.json.decode(a.result().payload)["event"]["n"] for a in answers) == list(range(12))
    invocations = core.records("invocation")
    served = {record["environment"] for record in invocations}
    started = {record["environment"] for record in core.records("environment_started")}
    assert sum(record["cold"] for record in invocations) + len(started - served) == len(started)
    waited = [record for record in invocations if not record["cold"]]
    assert waited, "every request had an environment of its own: nobody waited"
    assert max(record["wait_ms"] for record in waited) > 100


async def test_an_environment_serves_one_request_at_a_time(core: Core) -> None:
    core.deploy(BASIC)
    await asyncio.gather(*(core.call({"sleep": 0.01}) for _ in range(20)))
    spans: dict[str, list[tuple[int, int]]] = {}
    for record in core.records("invocation"):
        spans.setdefault(record["environment"], []).append((record["started_ns"], record["finished_ns"]))
    for inside in spans.values():
        ordered = sorted(inside)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ordered))


async def test_reserved_concurrency_throttles_with_awss_reason(core: Core) -> None:
    core.deploy(BASIC, reserved_concurrency=1)
    inside = core.start({"sleep": 0.3})
    with pytest.raises(AwsError) as refused:
        await core.call()
    assert (refused.value.code, refused.value.status) == ("TooManyRequestsException", 429)
    assert refused.value.fields["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    await inside
    assert (await core.value())["count"] == 2
    assert len(core.records("throttle")) == 1


async def test_versions_of_a_function_share_its_reserved_concurrency(core: Core) -> None:
    core.deploy(BASIC, reserved_concurrency=1)
    inside = core.start({"sleep": 0.3})
    core.deploy(BASIC, reserved_concurrency=1)
    with pytest.raises(AwsError, match="Rate Exceeded"):
        await core.call()
    await inside
    assert (await core.value())["count"] == 1


async def test_a_retired_revision_finishes_what_it_has(core: Core) -> None:
    old = core.deploy(BASIC)
    await core.value()
    inside = core.start({"sleep": 0.3})
    core.invoker.retire(old)
    new = core.deploy(BASIC.replace('"count"', '"new"'))
    assert "new" in await core.value()
    assert msgspec.json.decode((await inside).payload)["count"] == 2
    await eventually(lambda: len(core.records("environment_stopped")) == 1)
    assert [pool.function for pool in core.invoker.pools] == [new]


async def test_an_asker_who_leaves_costs_nobody_anything(core: Core) -> None:
    core.deploy(BASIC)
    await core.value()
    core.start({"sleep": 0.1}).cancel()
    await eventually(lambda: len(core.records("invocation")) == 2)
    assert (await core.value())["count"] == 3
    assert [record["status"] for record in core.records("invocation")] == ["ok"] * 3


async def test_idle_environments_expire_and_leave_nothing(tmp_path: Path, runtimes: Runtimes) -> None:
    factory = ProcessFactory(tmp_path / "env", runtimes)
    core = Core(tmp_path, factory, SocketTransport(), keep_alive_s=0.2)
    core.deploy("import os\ndef handler(event, context):\n    return os.getpid()\n")
    pid = await core.value()
    await eventually(lambda: bool(core.records("environment_stopped")))
    assert core.records("environment_stopped")[0]["reason"] == "expired"
    await eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert list((tmp_path / "env").iterdir()) == []
    core.close()


# what only real processes promise


@only_real
async def test_each_environment_has_its_own_tmp_which_a_reset_keeps(core: Core) -> None:
    core.deploy(
        "import os, time, tempfile\n"
        "def handler(event, context):\n"
        "    before = sorted(os.listdir(tempfile.gettempdir()))\n"
        "    own = 'of' + context.log_stream_name.split(']')[1]\n"
        "    open(os.path.join(tempfile.gettempdir(), event.get('name', own)), 'w').close()\n"
        "    if event.get('exit'): os._exit(1)\n"
        "    time.sleep(0.2)\n"
        "    return own, [name for name in before if name.startswith('of') or name == 'kept']\n"
    )
    owners: set[str] = set()
    while len(owners) < 2:  # an environment may be so late that the first has served both
        for own, found in await asyncio.gather(*(core.value({}) for _ in range(2))):
            assert found in ([], [own])
            owners.add(own)
    await asyncio.gather(*(core.call({"name": "kept", "exit": True}) for _ in range(2)))
    assert "kept" in (await core.value({"name": "again"}))[1]


@only_real
async def test_the_runtime_sees_awss_variables_and_limits(core: Core) -> None:
    function = core.deploy(
        "import os, resource\n"
        "def handler(event, context):\n"
        "    return {'env': dict(os.environ), 'nofile': resource.getrlimit(resource.RLIMIT_NOFILE)[0],\n"
        "            'group': context.log_group_name, 'memory': context.memory_limit_in_mb,\n"
        "            'left': context.get_remaining_time_in_millis(), 'arn': context.invoked_function_arn}\n",
        environment={"MODEL": "iris"},
    )
    seen = await core.value()
    env = seen["env"]
    assert env["MODEL"] == "iris"
    assert env["AWS_LAMBDA_FUNCTION_NAME"] == "fn"
    assert env["AWS_LAMBDA_INITIALIZATION_TYPE"] == ("snap-start" if core.snap_start else "on-demand")
    assert env["TZ"] == ":UTC"
    assert env["LAMBDA_TASK_ROOT"] == "/var/task"
    assert not [name for name in env if name.startswith(("_PREHEAT", "_LAMBDA_TELEMETRY"))]
    assert seen["nofile"] == 1024
    assert (seen["group"], seen["memory"], seen["arn"]) == ("/aws/lambda/fn", "256", function.arn)
    assert 19_000 < seen["left"] <= 20_000


@only_real
async def test_print_logging_and_stderr_arrive_in_order(core: Core) -> None:
    core.deploy(
        "import logging, sys\n"
        "def handler(event, context):\n"
        "    print('one'); logging.warning('two'); print('three', file=sys.stderr)\n"
        "    logging.warning('four\\nlines'); print('five', end='')\n"
    )
    result = await core.call()
    (events,) = core.logs.invoked()
    middle = between(events)
    assert [re.sub(r"\d{4}-\S+Z", "T", message) for message in middle] == [
        "one\n",
        f"[WARNING]\tT\t{result.request_id}\ttwo\n",
        "three\n",
        f"[WARNING]\tT\t{result.request_id}\tfour\nlines\n",
        "five",
    ]


@only_real
async def test_a_hundred_thousand_lines_neither_block_nor_get_lost(core: Core) -> None:
    core.deploy("def handler(event, context):\n    for n in range(100000): print('line', n)\n")
    await core.call()
    (events,) = core.logs.invoked()
    assert between(events) == [f"line {n}\n" for n in range(100_000)]


@only_real
async def test_daemons_die_with_their_environment(core: Core) -> None:
    core.deploy(
        "import os, subprocess, sys, time\n"
        "def handler(event, context):\n"
        "    code = 'import time; time.sleep(600)  # ' + event['mark']\n"
        "    child = subprocess.Popen([sys.executable, '-S', '-c', code], start_new_session=True)\n"
        "    if event.get('stay'): time.sleep(600)\n",
        timeout_s=2,
    )
    mark = f"daemon-{core.directory}"
    await core.value({"mark": mark})
    assert len(running(mark)) == 1
    await core.call({"mark": mark, "stay": True})  # times out: the reset kills everything
    await eventually(lambda: not running(mark))


@only_real
async def test_sigterm_ignored_still_ends_at_the_limit(core: Core) -> None:
    core.deploy(
        "import signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def handler(event, context):\n"
        "    open('/proc/self/comm', 'w').write(event)\n    while True: pass\n",
        timeout_s=1,
    )
    mark = f"loop{os.getpid()}"
    began = time.monotonic()
    answer = core.start(mark)
    await eventually(lambda: len(running(mark)) == 1)
    assert b"Task timed out after 1.00 seconds" in (await answer).payload
    assert time.monotonic() - began < 30
    await eventually(lambda: not running(mark))


@only_real
async def test_signals_are_named(core: Core) -> None:
    core.deploy("import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGSEGV)\n")
    error = msgspec.json.decode((await core.call()).payload)
    assert error["errorMessage"].endswith("Error: Runtime exited with error: signal: segmentation fault")


@only_real
async def test_status_zero_is_an_exit_without_a_reason(core: Core) -> None:
    core.deploy("import sys\ndef handler(event, context):\n    sys.exit(0)\n")
    error = msgspec.json.decode((await core.call()).payload)
    assert error["errorMessage"].endswith("Error: Runtime exited without providing a reason")


@only_real
async def test_peak_memory_is_the_environments_own(core: Core) -> None:
    core.deploy(
        "def handler(event, context):\n    block = bytearray(event * 2**20)\n    block[::4096] = block[::4096]\n"
    )
    await core.call(0)
    await core.call(60)
    await core.call(0)
    idle, grown, after = (record["max_memory_mb"] for record in core.records("invocation"))
    assert idle < 60
    assert 60 < grown < idle + 120
    assert after == grown


@only_real
async def test_the_largest_response_passes_and_one_byte_more_does_not(core: Core) -> None:
    core.deploy("def handler(event, context):\n    return 'x' * event\n")
    limit = 6_291_556
    fits = await core.call(limit - 2)  # two quotes
    assert (len(fits.payload), fits.function_error) == (limit, None)
    over = await core.call(limit - 1)
    error = msgspec.json.decode(over.payload)
    assert over.function_error == "Unhandled"
    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    assert error["errorMessage"] == f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    assert (await core.call(1)).payload == b'"x"'
    assert len(core.records("environment_started")) == 1


@only_real
@pytest.mark.parametrize(
    ("source", "event", "error_type"),
    [
        ("def handler(event, context):\n    return {1, 2}\n", None, "Runtime.MarshalError"),
        ("import nothing_of_that_name\n", None, "Runtime.ImportModuleError"),
        ("def other(event, context):\n    pass\n", None, "Runtime.HandlerNotFound"),
        ("def handler(:\n", None, "Runtime.UserCodeSyntaxError"),
    ],
)
async def test_awslambdarics_own_errors(core: Core, source: str, event: object, error_type: str) -> None:
    core.deploy(source)
    result = await core.call(event)
    assert msgspec.json.decode(result.payload)["errorType"] == error_type


@only_plain
async def test_init_past_its_limit_is_repeated_inside_the_invoke(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_s = 5 if isinstance(core.factory, DockerFactory) else 2  # Docker takes half a second to start a container
    monkeypatch.setattr("preheat.execution.environment.INIT_LIMIT_S", limit_s)
    once = "import os, time\nif not os.path.exists('/tmp/x'):\n    open('/tmp/x', 'w').close()\n    time.sleep(60)\n"
    core.deploy(once + BASIC)
    assert (await core.value())["count"] == 1
    statuses = [record["status"] for record in core.records("init_done")]
    assert statuses == ["timeout", "ok"]
    (init_ms,) = re.findall(r"INIT_REPORT Init Duration: (\S+) ms\tPhase: init\tStatus: timeout\n", core.logs.text())
    assert float(init_ms) == pytest.approx(limit_s * 1000, abs=500)


@only_real
@pytest.mark.skipif(
    not hierarchies(), reason="memory is only capped where a cgroup is writable (preheat doctor says so)"
)
async def test_a_memory_hog_is_killed_and_the_next_request_is_served(core: Core) -> None:
    core.deploy("def handler(event, context):\n    return len(bytearray(event * 2**20))\n", memory_mb=128)
    assert await core.value(1) == 2**20
    error = msgspec.json.decode((await core.call(600)).payload)
    assert error["errorType"] == "Runtime.OutOfMemory"
    assert core.logs.text().endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n")
    assert await core.value(1) == 2**20


# what only restored environments promise

TWO = """
import os, random, socket, threading, time, uuid
at_init = random.random()
def handler(event, context):
    time.sleep(1)  # so that the second request needs a second environment
    before = os.listdir("/tmp")
    open("/tmp/mine-" + uuid.uuid4().hex, "w").close()
    return {"init": at_init, "random": random.random(), "uuid": str(uuid.uuid4()), "before": before,
            "pid": os.getpid(), "host": os.readlink("/proc/self/ns/pid"), "id": context.aws_request_id,
            "stream": context.log_stream_name, "ipc": os.readlink("/proc/self/ns/ipc")}
"""


@only_restored
async def test_two_environments_of_one_snapshot_share_init_and_nothing_else(core: Core) -> None:
    core.deploy(TWO)
    one, two = await asyncio.gather(core.value(), core.value())
    assert one["init"] == two["init"]
    for key in ("random", "uuid", "host", "ipc", "id", "stream"):
        assert one[key] != two[key], key
    assert not [name for seen in (one, two) for name in seen["before"] if name.startswith("mine-")]
    assert len(core.records("environment_started")) == 2
    assert core.records("init_done") == []


@only_restored
async def test_a_cold_start_reports_its_restore(core: Core) -> None:
    core.deploy(BASIC)
    await core.value()
    await core.value()
    first, second = core.records("invocation")
    (restored,) = core.records("restored")
    assert (first["cold"], second["cold"]) == (True, False)
    assert (first["init_ms"], first["init_type"]) == (None, "snap-start")
    assert first["restore_ms"] == pytest.approx(restored["restore_ms"], abs=0.01)
    assert restored["origin"] in ("fork", "spare")
    reports = [line for line in core.logs.messages() if line.startswith("REPORT")]
    assert re.search(r"\tRestore Duration: \d+\.\d\d ms\tBilled Restore Duration: \d+ ms\t\n$", reports[0])
    assert "Restore" not in reports[1]
    assert f"RESTORE_REPORT Restore Duration: {first['restore_ms']:.2f} ms\n" in core.logs.messages()


HOOKS = """
import snapshot_restore_py as snapshot
order = ["init"]
@snapshot.register_before_snapshot
def before():
    order.append("before")
@snapshot.register_after_restore
def after():
    order.append("after")
def handler(event, context):
    return order
"""


@only_restored
async def test_hooks_run_once_before_and_once_after_each_restore(core: Core) -> None:
    function = core.deploy(HOOKS)
    await core.invoker.prepare(function)
    assert await core.value() == ["init", "before", "after"]
    assert await core.value() == ["init", "before", "after"]


@only_restored
async def test_a_failing_init_is_told_when_the_snapshot_is_taken(core: Core) -> None:
    function = core.deploy("raise RuntimeError('no model')\n")
    with pytest.raises(AwsError, match="RuntimeError: no model"):
        await core.invoker.prepare(function)


@only_restored
async def test_a_failing_hook_before_the_snapshot_fails_it(core: Core) -> None:
    function = core.deploy(HOOKS.replace('order.append("before")', "raise KeyError('nothing')"))
    with pytest.raises(AwsError, match="BeforeSnapshotError"):
        await core.invoker.prepare(function)


@only_restored
async def test_a_failing_hook_after_the_restore_is_the_requests_error(core: Core) -> None:
    core.deploy(HOOKS.replace('order.append("after")', "raise KeyError('nothing')"))
    result = await core.call()
    assert result.function_error == "Unhandled"
    assert msgspec.json.decode(result.payload)["errorType"] == "Runtime.AfterRestoreError"


@only_restored
async def test_what_a_snapshot_cannot_carry_is_named_with_its_line(core: Core) -> None:
    core.deploy(
        "import os, socket, threading, time\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(listener.getsockname())\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True, name='poller').start()\n"
        "key = os.environ['AWS_SECRET_ACCESS_KEY']\n"
        "def handler(event, context):\n    return threading.active_count()\n"
    )
    assert await core.value() == 1  # the thread is not there
    warnings = "".join(line for line in core.logs.messages() if line.startswith("[WARNING]"))
    assert "app.py:3 opens a network connection" in warnings
    assert "app.py:4 starts a thread during init" in warnings
    assert "(alive: poller)" in warnings
    assert "app.py:5 reads credentials" in warnings


@pytest.mark.parametrize("core", ZIP_RESTORED, indirect=True)  # test_image_snapshots.py has an image's own
async def test_a_template_that_dies_is_taken_again(core: Core) -> None:
    core.deploy("import os\nparent = os.getpid()\ndef handler(event, context):\n    return parent\n")
    template = await core.value()
    os.kill(template, 9)
    await core.call("after it")  # the living environment is not touched
    for pool in core.invoker.pools:
        await eventually(lambda pool=pool: pool.snapshot_died())  # type: ignore[misc]
        pool.expire(time.monotonic_ns(), 0)
    assert await core.value() != template


@pytest.mark.parametrize("core", ["process-socket", "snapshot-socket"], indirect=True)
async def test_init_and_handlers_of_both_kinds_hold_the_same_capabilities(core: Core) -> None:
    core.deploy(
        "def caps():\n    return [l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap')]\n"
        "at_init = caps()\ndef handler(event, context):\n    return [at_init, caps()]\n"
    )
    own = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Cap")]
    expected = own if os.geteuid() == 0 else None
    at_init, in_handler = await core.value()
    assert at_init == in_handler
    assert expected is None or at_init == expected


TASK = """
import os, sys
def refused(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.errno
def handler(event, context):
    if event == "raise":
        raise ValueError("boom")
    return {"file": __file__, "directory": os.getcwd(), "root": os.environ["LAMBDA_TASK_ROOT"],
            "source": open("/var/task/app.py").read(), "made": refused("/var/task/made")}
"""


@only_real
async def test_the_code_is_at_var_task_read_only_and_nowhere_on_the_machine(core: Core) -> None:
    there = [Path("/var/task").exists(), Path("/var/runtime").exists()]
    core.deploy(TASK)
    seen = await core.value()
    assert (seen["file"], seen["directory"], seen["root"]) == ("/var/task/app.py", "/var/task", "/var/task")
    assert (seen["source"], seen["made"]) == (TASK, errno.EROFS)
    assert [Path("/var/task").exists(), Path("/var/runtime").exists()] == there
    assert " /var/task " not in Path("/proc/self/mounts").read_text()
    error = msgspec.json.decode((await core.call("raise")).payload)
    assert error["stackTrace"] == ['  File "/var/task/app.py", line 10, in handler\n    raise ValueError("boom")\n']


@pytest.mark.parametrize("core", [*PROCESS, *ZIP_RESTORED], indirect=True)  # an image function has no layers
@pytest.mark.parametrize("count", [1, 2])
async def test_layers_are_seen_below_opt_and_the_last_one_wins(core: Core, tmp_path: Path, count: int) -> None:
    layers = [tmp_path / f"layer{n}" for n in range(count)]
    for number, layer in enumerate(layers):
        (layer / "python").mkdir(parents=True)
        (layer / "python" / "shared.py").write_text(f"number = {number}\n")
        (layer / "python" / f"only{number}.py").write_text("")
    names = ", ".join(f"only{n}" for n in range(count))
    core.deploy(
        f"import shared, {names}\ndef handler(event, context):\n    return [shared.number, shared.__file__]\n",
        layer_dirs=tuple(map(str, layers)),
    )
    number, file = await core.value()
    assert number == count - 1
    assert file == "/opt/python/shared.py"


@only_plain
async def test_the_json_log_format_of_platform_and_handler(core: Core) -> None:
    core.deploy(
        "import logging\ndef handler(event, context):\n"
        "    logging.getLogger().debug('quiet')\n    logging.getLogger().warning('loud')\n",
        log_format="JSON",
        application_log_level="INFO",
        system_log_level="INFO",
    )
    result = await core.call()
    events = [msgspec.json.decode(message) for message in core.logs.messages()]
    platform = [event["type"] for event in events if "type" in event]
    before = ["platform.initStart"] if core.base is None else []
    assert platform == [*before, "platform.start", "platform.report"]
    (said,) = [event for event in events if "message" in event]
    assert (said["level"], said["message"], said["requestId"]) == ("WARNING", "loud", result.request_id)
    assert events[-1]["record"]["metrics"]["initDurationMs"] == core.records("invocation")[0]["init_ms"]


def other_pythons() -> list[str]:
    """Runtimes other than our own that this machine has an interpreter for: the oldest and the newest."""
    found = []
    for minor in range(8, 14):
        with contextlib.suppress(PreheatError):
            if interpreter(f"python3.{minor}") != Path(sys.executable):
                found.append(f"python3.{minor}")
    return sorted({*found[:1], *found[-1:]})


@pytest.mark.parametrize("core", ["process-socket", "process-http"], indirect=True)
async def test_every_python_serves(core: Core) -> None:
    for runtime in [f"python3.{sys.version_info.minor}", *other_pythons()]:
        core.deploy(
            "import os, sys\ndef handler(event, context):\n"
            "    if event == 'raise': raise ValueError('boom')\n"
            "    return ['python%d.%d' % sys.version_info[:2], os.environ['AWS_EXECUTION_ENV'], event]\n",
            runtime=runtime,
        )
        assert await core.value({"a": [1]}) == [runtime, f"AWS_Lambda_{runtime}", {"a": [1]}]
        assert msgspec.json.decode((await core.call("raise")).payload)["errorMessage"] == "boom"


THREAD = """
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.005)
        ticks += 1
thread = None
def handler(event, context):
    global thread
    if thread is None:
        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
    time.sleep(event)
    return ticks
"""


@only_real
async def test_a_background_thread_stands_still_between_invokes_and_goes_on_in_the_next(core: Core) -> None:
    core.deploy(THREAD, memory_mb=1769)
    before = await core.value(0.5)
    (environment,) = core.invoker.pools[0].environments.values()
    await eventually(lambda: environment.frozen)
    await asyncio.sleep(2.0)  # in which an unfrozen thread would tick some 300 times
    after = await core.value(0)
    assert before > 5
    assert after - before < 100  # Docker's engine takes its time
    assert await core.value(0.5) > after + 10


@only_real
async def test_a_request_within_the_grace_finds_its_environment_unfrozen(core: Core) -> None:
    core.deploy(BASIC)
    await core.value()
    (environment,) = core.invoker.pools[0].environments.values()
    frozen = []
    for _ in range(20):
        frozen.append(environment.frozen)
        await core.value()
    assert frozen.count(True) < 10  # the loop of this test leaves no 5 ms between requests, but for a hiccup


@only_real
@pytest.mark.skipif(not hierarchies(), reason="CPU is only limited where a cgroup is writable (preheat doctor says so)")
async def test_the_handlers_cpu_follows_memory_and_init_is_not_throttled(core: Core) -> None:
    core.deploy(
        "import time\n"
        "def burn():\n    began = time.process_time()\n    while time.process_time() - began < 0.1: pass\n"
        "burn()\n"
        "def handler(event, context):\n    if event: burn()\n",
        memory_mb=354,  # a fifth of a core
    )
    await core.value(False)
    assert throttled(core) == 0  # init used a core's whole time for several periods
    await core.value(True)
    assert throttled(core) > 3


def throttled(core: Core) -> int:
    """Periods in which the environment that serves was throttled (cpu.stat of its group)."""
    if isinstance(core.factory, DockerFactory):
        (container,) = core.factory.api.call("GET", "/containers/json")
        groups = list(Path("/sys/fs/cgroup").glob(f"**/{container['Id']}"))
    else:
        assert isinstance(core.factory, (ProcessFactory, ContainerFactory))
        groups = [group for path in core.factory.cgroups.paths for group in path.iterdir() if group.is_dir()]
    stats = [(group / "cpu.stat").read_text() for group in groups if (group / "cpu.stat").exists()]
    return max(int(line.split()[1]) for stat in stats for line in stat.splitlines() if "nr_throttled" in line)


def between(events: list[LogEvent]) -> list[str]:
    """What was written between START and END."""
    messages = [message for _, message in events]
    start = next(at for at, message in enumerate(messages) if message.startswith("START"))
    return messages[start + 1 : -2]


def owned(directory: Path) -> list[int]:
    """Processes, on the machine, that were started for an environment below a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"_PREHEAT_TMP={directory}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def running(mark: str) -> list[int]:
    """Processes, on the machine, whose command line or name holds the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes() + (entry / "comm").read_bytes():
                    found.append(int(entry.name))
    return found
