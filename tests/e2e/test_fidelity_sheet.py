"""The fidelity sheet's rows on life cycle, log lines and error payloads, on a real server, over both transports.

A row's id names the sheet's section and sentence. What the two transports answer and log is compared at the end:
awslambdaric over our socket and awslambdaric over HTTP must not be told apart.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from e2e_cloud import Cloud, ask, eventually, remains, zipped

HANDLERS = """
import os, sys, time, signal, logging, threading

ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()

def lambda_handler(event, context):
    what = event.get("do") if isinstance(event, dict) else None
    if what == "raise":
        raise KeyError("as asked")
    if what == "set":
        return {1, 2}
    if what == "exit":
        os._exit(event["status"])
    if what == "sys.exit":
        sys.exit(0)
    if what == "signal":
        os.kill(os.getpid(), event["number"])
        time.sleep(5)
    if what == "loop":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass
    if what == "hog":
        hog = []
        while True:
            hog.append(bytearray(b"x" * 10_000_000))
    if what == "bytes":
        return "x" * (event["count"] - 2)
    if what == "print":
        print("from stdout")
        print("from stderr", file=sys.stderr)
        logging.getLogger().warning("from logging")
    if what == "tmp":
        with open("/tmp/kept", "a") as file:
            file.write("x")
        return os.path.getsize("/tmp/kept")
    if what == "ticks":
        return ticks
    if what == "environ":
        return {name: os.environ.get(name) for name in event["names"]}
    return event
"""
IMPORTS_FAIL = "import json\nraise ImportError('no such thing')\n"
TIMEOUT_S = 2
MEMORY_MB = 256
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Told:
    """One invocation: what the caller got, and the lines that it left in the log."""

    request_id: str
    error: str | None
    payload: Any
    tail: str
    lines: list[str]

    @property
    def report(self) -> str:
        return next(line for line in self.lines if line.startswith("REPORT"))

    def masked(self) -> tuple[str | None, str, list[str]]:
        """Without what differs from one run to the next."""
        payload = json.dumps(self.payload)
        return self.error, mask(payload[:1000]), [mask(line) for line in self.lines]


def mask(text: str) -> str:
    text = re.sub(UUID, "<id>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    return re.sub(r"(Duration|Max Memory Used): [\d.]+", r"\1: <n>", text)


class Lambda:
    """A server with one transport; `call` invokes and reads the log."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._lambda = cloud.client("lambda")
        self._logs = cloud.client("logs")
        self._names = itertools.count()

    def function(self, source: str = HANDLERS, **options: Any) -> str:
        name = f"f{next(self._names)}"
        facts = {"Timeout": TIMEOUT_S, "MemorySize": MEMORY_MB, **options}
        self.cloud.create_function(name, source, **facts)
        return name

    def call(self, name: str, event: Any = None) -> Told:
        answer = self._lambda.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
        request_id = answer["ResponseMetadata"]["RequestId"]
        tail = base64.b64decode(answer["LogResult"]).decode()
        lines = self.log(name)
        mine = [n for n, line in enumerate(lines) if request_id in line and line.startswith(("START", "REPORT"))]
        assert len(mine) == 2, lines
        payload = json.loads(answer["Payload"].read())
        return Told(request_id, answer.get("FunctionError"), payload, tail, lines[mine[0] : mine[1] + 1])

    def log(self, name: str) -> list[str]:
        """All messages of the newest stream."""
        streams = self._logs.describe_log_streams(
            logGroupName=f"/aws/lambda/{name}", orderBy="LastEventTime", descending=True
        )
        events = self._logs.get_log_events(
            logGroupName=f"/aws/lambda/{name}",
            logStreamName=streams["logStreams"][0]["logStreamName"],
            startFromHead=True,
        )
        return [event["message"] for event in events["events"]]


@pytest.fixture(scope="module", params=["socket", "http"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    cloud = Cloud(tmp_path_factory.mktemp(request.param) / "data", "--transport", request.param).start()
    yield Lambda(cloud)
    assert cloud.end() == 0
    assert remains(cloud.data_dir) == []


def exit_error(reason: str) -> Callable[[Told], None]:
    def check(told: Told) -> None:
        assert told.error == "Unhandled"
        message = f"RequestId: {told.request_id} Error: {reason}"
        assert told.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}
        assert told.report.endswith("\tStatus: error\tError Type: Runtime.ExitError\n")

    return check


def handler_error(told: Told) -> None:
    assert told.error == "Unhandled"
    assert list(told.payload) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert told.payload["errorMessage"] == "'as asked'"
    assert told.payload["errorType"] == "KeyError"
    assert told.payload["requestId"] == told.request_id
    line = HANDLERS.splitlines().index('        raise KeyError("as asked")') + 1
    frame = f'  File "/var/task/lambda_function.py", line {line}, in lambda_handler\n    raise KeyError("as asked")\n'
    assert told.payload["stackTrace"] == [frame]
    assert "Status:" not in told.report  # the environment is kept


def marshal_error(told: Told) -> None:
    assert told.payload["errorType"] == "Runtime.MarshalError"
    assert told.payload["errorMessage"].startswith("Unable to marshal response: ")


def timed_out(told: Told) -> None:
    limit = f"{TIMEOUT_S}.00 seconds"
    assert told.payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {told.request_id} Error: Task timed out after {limit}",
    }
    assert re.fullmatch(rf"\S+Z {told.request_id} Task timed out after {limit}\n\n", told.lines[-3]), told.lines
    assert f"\tDuration: {TIMEOUT_S * 1000}.00 ms\t" in told.report
    assert told.report.endswith("\tStatus: timeout\n")


def out_of_memory(told: Told) -> None:
    assert told.error == "Unhandled"
    assert told.payload["errorType"] == "Runtime.OutOfMemory"
    assert told.report.endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n")


def too_large(told: Told) -> None:
    message = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert told.payload == {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}


def largest(told: Told) -> None:
    assert told.error is None
    assert len(told.payload) == 6_291_554


def echoed(told: Told) -> None:
    assert told.error is None
    assert told.payload == {"plain": [1, "ü", None]}
    assert told.tail == "".join(told.lines)


def printed(told: Told) -> None:
    said = [line for line in told.lines if "from" in line]
    assert said[:2] == ["from stdout\n", "from stderr\n"]
    assert re.fullmatch(rf"\[WARNING\]\t\S+Z\t{told.request_id}\tfrom logging\n", said[2])


def none_is_null(told: Told) -> None:
    assert told.payload is None


ENVIRONMENT = {
    "TZ": ":UTC",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "PWD": "/var/task",
    "PYTHONPATH": "/var/runtime",
    "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LANG": "en_US.UTF-8",
    "SHLVL": "0",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "_AWS_XRAY_DAEMON_PORT": "2000",
}
"""As handlers have printed them on AWS (python3.8 to 3.14)."""


def environment(told: Told) -> None:
    assert told.payload == ENVIRONMENT


def serving(cloud: Cloud, name: str) -> int:
    count: int = ask(f"{cloud.url}/_preheat/status").json()["functions"].get(name, {}).get("serving", 0)
    return count


Row = tuple[str, Any, Callable[[Told], None]]
ROWS: list[Row] = [
    ("Invoke API: an answer and its log tail", {"plain": [1, "ü", None]}, echoed),
    ("Invoke API: None is null", None, none_is_null),
    (
        "Runtime API: handler environment",
        {"do": "environ", "names": [*ENVIRONMENT]},
        environment,
    ),
    ("Error payloads: handler error", {"do": "raise"}, handler_error),
    ("Error payloads: RIC's MarshalError (fault 6)", {"do": "set"}, marshal_error),
    (
        "Error payloads: exit status 0 (fault 1)",
        {"do": "exit", "status": 0},
        exit_error("Runtime exited without providing a reason"),
    ),
    (
        "Error payloads: exit status 127",
        {"do": "exit", "status": 127},
        exit_error("Runtime exited with error: exit status 127"),
    ),
    (
        "Error payloads: sys.exit(0) (fault 1)",
        {"do": "sys.exit"},
        exit_error("Runtime exited without providing a reason"),
    ),
    (
        "Error payloads: signal: killed",
        {"do": "signal", "number": 9},
        exit_error("Runtime exited with error: signal: killed"),
    ),
    (
        "Error payloads: SIGSEGV (fault 1)",
        {"do": "signal", "number": 11},
        exit_error("Runtime exited with error: signal: segmentation fault"),
    ),
    ("Error payloads: timeout, REPORT and its line (fault 2)", {"do": "loop"}, timed_out),
    ("Error payloads: memory (fault 4)", {"do": "hog"}, out_of_memory),
    ("Error payloads: ResponseSizeTooLarge (fault 6)", {"do": "bytes", "count": 6_291_557}, too_large),
    ("Runtime API: largest response (fault 6)", {"do": "bytes", "count": 6_291_556}, largest),
    ("Log lines: stdout, stderr and logging in order", {"do": "print"}, printed),
]
SEEN: dict[str, tuple[Any, ...]] = {}
"""What the socket transport's rows gave, for the HTTP transport's to be compared with."""


@pytest.fixture(scope="module")
def name(server: Lambda) -> str:
    return server.function()


@pytest.fixture(scope="module")
def patient(server: Lambda) -> str:
    """With the memory of the other, but not its timeout: a seventh of a core fills that slowly on a busy machine."""
    return server.function(Timeout=60)


@pytest.mark.parametrize(("row", "event", "check"), ROWS, ids=[row for row, _, _ in ROWS])
def test_a_row(server: Lambda, name: str, patient: str, row: str, event: Any, check: Callable[[Told], None]) -> None:
    told = server.call(patient if check is out_of_memory else name, event)
    check(told)
    assert told.lines[0] == f"START RequestId: {told.request_id} Version: $LATEST\n"
    assert told.lines[-2] == f"END RequestId: {told.request_id}\n"
    assert told.report.startswith(f"REPORT RequestId: {told.request_id}\tDuration: ")
    assert SEEN.setdefault(row, told.masked()) == told.masked()


def test_log_lines_a_cold_report_and_its_bill(server: Lambda) -> None:
    name = server.function()
    cold, warm = server.call(name), server.call(name)
    log = server.log(name)
    assert re.fullmatch(r"INIT_START Runtime Version: \S+\tRuntime Version ARN: \S+\n", log[0])
    shape = r"REPORT RequestId: \S+\tDuration: ([\d.]+) ms\tBilled Duration: (\d+) ms\t"
    shape += r"Memory Size: 256 MB\tMax Memory Used: (\d+) MB\t"
    first = re.fullmatch(shape + r"Init Duration: (\d+\.\d\d) ms\t\n", cold.report)
    second = re.fullmatch(shape + r"\n", warm.report)
    assert first is not None
    assert second is not None
    assert int(first[2]) == math.ceil(round(float(first[1]) + float(first[4]), 2))
    assert int(second[2]) == math.ceil(float(second[1]))
    assert 0 < int(first[3]) <= MEMORY_MB


def test_log_lines_group_and_stream(server: Lambda) -> None:
    name = server.function()
    server.call(name)
    (stream,) = server.cloud.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream["logStreamName"])


def test_log_lines_json_format(server: Lambda) -> None:
    name = server.function(LoggingConfig={"LogFormat": "JSON"})
    server.cloud.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    events = [json.loads(line) for line in server.log(name)]
    kinds = [event["type"] for event in events]
    assert kinds == ["platform.initStart", "platform.start", "platform.report"]
    report = events[-1]["record"]
    assert report["status"] == "success"
    assert set(report["metrics"]) >= {
        "durationMs",
        "billedDurationMs",
        "memorySizeMB",
        "maxMemoryUsedMB",
        "initDurationMs",
    }


def test_lifecycle_a_broken_import_runs_twice_and_says_why(server: Lambda) -> None:
    name = server.function(IMPORTS_FAIL)
    answer = server.cloud.client("lambda").invoke(FunctionName=name, Payload=b"{}")
    payload = json.loads(answer["Payload"].read())
    assert payload["errorType"] == "Runtime.ImportModuleError"
    assert payload["requestId"] == ""
    reports = [line for line in server.log(name) if line.startswith("INIT_REPORT")]
    shape = r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: {}\tStatus: error\tError Type: Runtime.ImportModuleError\n"
    assert [
        bool(re.fullmatch(shape.format(phase), line)) for phase, line in zip(("init", "invoke"), reports, strict=True)
    ] == [
        True,
        True,
    ]


def test_lifecycle_a_crash_resets_the_environment_keeps_tmp_and_suppresses_init(server: Lambda) -> None:
    name = server.function()
    assert server.call(name, {"do": "tmp"}).payload == 1
    server.call(name, {"do": "exit", "status": 1})
    again = server.call(name, {"do": "tmp"})
    assert again.payload == 2
    assert "Init Duration" not in again.report


def test_lifecycle_frozen_between_invokes(server: Lambda) -> None:
    name = server.function(MemorySize=1769)
    first = server.call(name, {"do": "ticks"}).payload
    other = server.function()
    for _ in range(3):  # a second and more, in which this environment has nothing to do
        server.call(other, {"do": "exit", "status": 1})
    second = server.call(name, {"do": "ticks"}).payload
    assert second - first < 50  # a thread that ran on would have made a hundred ticks


def test_lifecycle_updating_leaves_in_flight_invokes_on_the_old_code(server: Lambda) -> None:
    old = "import time\ndef lambda_handler(e, c):\n    time.sleep(e)\n    return 'old'\n"
    name = server.function(old)
    client = server.cloud.client("lambda")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.call, name, 1.5)
        eventually(lambda: serving(server.cloud, name))
        client.update_function_code(FunctionName=name, ZipFile=zipped(old.replace("old", "new")))
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        assert server.call(name, 0).payload == "new"
        assert slow.result().payload == "old"


def test_limits_sync_payload_to_the_byte(server: Lambda, name: str) -> None:
    client = server.cloud.client("lambda")
    text = b'"' + b"x" * (6_291_456 - 2) + b'"'
    answer = client.invoke(FunctionName=name, Payload=text, InvocationType="RequestResponse")
    assert answer["StatusCode"] == 200
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=name, Payload=text + b" ")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert (
        refused.value.response["Error"]["Message"]
        == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    )


def test_fault_18_a_function_deleted_during_an_invoke_finishes_it(server: Lambda) -> None:
    name = server.function("import time\ndef lambda_handler(e, c):\n    time.sleep(1.2)\n    return 'done'\n")
    client = server.cloud.client("lambda")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.invoke, FunctionName=name, Payload=b"{}")
        eventually(lambda: serving(server.cloud, name))
        client.delete_function(FunctionName=name)
        assert json.loads(answer.result()["Payload"].read()) == "done"
    with pytest.raises(
        client.exceptions.ResourceNotFoundException, match=rf"Function not found: arn:\S+:function:{name}"
    ):
        client.invoke(FunctionName=name, Payload=b"{}")


def update(cloud: Cloud, archive: bytes) -> None:
    client = cloud.client("lambda")
    client.update_function_code(FunctionName="f", ZipFile=archive)
    client.get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.2})


def test_fault_17_a_full_disk_fails_the_update_and_the_old_version_serves(tmp_path: Path) -> None:
    data = tmp_path / "small"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(data)], check=True)
    try:
        cloud = Cloud(data / "data").start()
        cloud.create_function("f", "def lambda_handler(e, c):\n    return 'old'\n")
        client = cloud.client("lambda")
        assert json.loads(client.invoke(FunctionName="f", Payload=b"{}")["Payload"].read()) == "old"
        large = "DATA = '''" + base64.b64encode(os.urandom(24_000_000)).decode() + "'''\n"
        with pytest.raises((ClientError, WaiterError)):
            update(cloud, zipped(large))
        assert json.loads(client.invoke(FunctionName="f", Payload=b"{}")["Payload"].read()) == "old"
        assert cloud.end() == 0
    finally:
        subprocess.run(["umount", "-l", str(data)], check=False)
