"""Response streaming, custom runtimes and extensions as users meet them: boto3, plain HTTP, a real server."""

from __future__ import annotations

import http.client
import io
import json
import socket
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e_cloud import ROLE, Cloud, eventually

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from custom_runtime import BOOTSTRAP
from extension_probe import SOURCE as PROBE

MB = 2**20


def package(**files: str) -> bytes:
    """A zip of executables, their names' __ being slashes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "/"))
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text % {"python": sys.executable})
    return buffer.getvalue()


@pytest.fixture(scope="module")
def streamer(cloud: Cloud) -> str:
    """A function of provided.al2023 with a URL in RESPONSE_STREAM mode, which is returned."""
    client = cloud.client("lambda")
    client.create_function(
        FunctionName="streamer",
        Runtime="provided.al2023",
        Role=ROLE,
        Handler="any",
        Code={"ZipFile": package(bootstrap=BOOTSTRAP)},
        Timeout=30,
        MemorySize=1769,
    )
    client.get_waiter("function_active_v2").wait(FunctionName="streamer")
    return url_of(cloud, "streamer")


def url_of(cloud: Cloud, name: str) -> str:
    made = cloud.client("lambda").create_function_url_config(
        FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM"
    )
    return str(made["FunctionUrl"])


def stream(cloud: Cloud, name: str, event: Any, **more: Any) -> Iterator[dict[str, Any]]:
    answer = cloud.client("lambda").invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **more)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    return iter(answer["EventStream"])


def through(url: str, event: Any) -> http.client.HTTPResponse:
    """POST to a function URL. The bootstrap finds its orders in the event's body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("POST", parts.path, json.dumps(event), {"Content-Type": "application/json"})
    return connection.getresponse()


def resident_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def test_events_come_while_the_function_writes(cloud: Cloud, streamer: str) -> None:
    events = stream(cloud, "streamer", {"chunks": ["one", "two"], "sleep": 0.5}, LogType="Tail")
    assert next(events) == {"PayloadChunk": {"Payload": b"one"}}
    assert cloud.records("invocation", "streamer") == []  # not over yet
    assert next(events) == {"PayloadChunk": {"Payload": b"two"}}
    complete = next(events)["InvokeComplete"]
    assert complete.keys() == {"LogResult"}
    assert list(events) == []
    (record,) = cloud.records("invocation", "streamer")
    assert record["status"] == "ok"


def test_an_error_in_the_middle_is_in_the_last_event(cloud: Cloud, streamer: str) -> None:
    *chunks, last = stream(cloud, "streamer", {"chunks": ["half"], "error": "Model.Broken"})
    assert chunks == [{"PayloadChunk": {"Payload": b"half"}}]
    assert last["InvokeComplete"]["ErrorCode"] == "Model.Broken"
    details = json.loads(last["InvokeComplete"]["ErrorDetails"])
    assert details == {"errorType": "Model.Broken", "errorMessage": "in the middle"}


def test_a_plain_invoke_collects_the_response(cloud: Cloud, streamer: str) -> None:
    answer = cloud.client("lambda").invoke(FunctionName="streamer", Payload='{"chunks": ["one", "two"]}')
    assert answer["Payload"].read() == b"onetwo"


def test_a_hundred_megabytes_to_a_slow_client_cost_the_server_no_memory(cloud: Cloud, streamer: str) -> None:
    list(stream(cloud, "streamer", {"size": 4 * MB}))  # everything that is made once is there
    before = resident_mb(cloud.pid)
    most, got = before, 0
    for event in stream(cloud, "streamer", {"size": 100 * MB}):
        got += len(event.get("PayloadChunk", {}).get("Payload", b""))
        most = max(most, resident_mb(cloud.pid))
    assert got == 100 * MB
    assert most - before < 30


def test_a_client_that_leaves_does_not_stop_the_function(cloud: Cloud, streamer: str) -> None:
    before = len(cloud.records("invocation", "streamer"))
    with socket.create_connection((urlsplit(cloud.url).hostname, urlsplit(cloud.url).port)) as client:
        body = json.dumps({"size": 20 * MB})
        path = "/2021-11-15/functions/streamer/response-streaming-invocations"
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert b"200 OK" in client.recv(4096)
    records = eventually(lambda: cloud.records("invocation", "streamer")[before:])
    assert [record["status"] for record in records] == ["ok"]


def test_a_url_streams_after_its_prelude(streamer: str) -> None:
    prelude = {
        "statusCode": 201,
        "headers": {"Content-Type": "text/html", "X-Model": "iris"},
        "cookies": ["a=1", "b=2"],
    }
    kind = "application/vnd.awslambda.http-integration-response"
    answer = through(streamer, {"prelude": prelude, "chunks": ["<p>", "</p>"], "sleep": 0.3, "type": kind})
    assert (answer.status, answer.headers["Content-Type"], answer.headers["X-Model"]) == (201, "text/html", "iris")
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.read1() == b"<p>"
    assert answer.read() == b"</p>"


def test_a_url_streams_any_other_type_as_it_is(streamer: str) -> None:
    answer = through(streamer, {"chunks": ["data: 1\n\n"], "type": "text/event-stream"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert answer.read() == b"data: 1\n\n"


def test_a_url_breaks_off_where_the_function_does(streamer: str) -> None:
    answer = through(streamer, {"chunks": ["half"], "exit": 1, "sleep": 0.2})
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    assert broken.value.partial == b"half"


def test_a_prelude_that_is_none_is_502(streamer: str) -> None:
    kind = "application/vnd.awslambda.http-integration-response"
    answer = through(streamer, {"chunks": ["no prelude"], "type": kind})
    assert (answer.status, answer.read()) == (502, b"Internal Server Error")


def test_a_function_that_does_not_stream_works_behind_such_a_url(cloud: Cloud) -> None:
    cloud.create_function("buffered")
    answer = through(url_of(cloud, "buffered"), {"values": [1]})
    assert answer.status == 200
    assert json.loads(answer.read())["values"] == [1]
    *chunks, last = stream(cloud, "buffered", {"raise": "boom"})
    assert json.loads(chunks[0]["PayloadChunk"]["Payload"])["errorMessage"] == "boom"
    assert last["InvokeComplete"]["ErrorCode"] == "Unhandled"


def test_a_layers_extension_runs_beside_the_function(cloud: Cloud) -> None:
    """... until the server ends, whose fixture looks for what is left."""
    client = cloud.client("lambda")
    layer = client.publish_layer_version(LayerName="probe", Content={"ZipFile": package(extensions__probe=PROBE)})
    wish = {"PROBE": json.dumps({"telemetry": ["platform"]})}
    cloud.create_function("extended", Layers=[layer["LayerVersionArn"]], Environment={"Variables": wish})
    assert json.loads(client.invoke(FunctionName="extended")["Payload"].read())["statusCode"] == 200
    eventually(lambda: cloud.records("invocation", "extended"))
    events = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/extended")["events"]
    text = "".join(event["message"] for event in events)
    assert "EXTENSION\tName: probe\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in text
    assert '"type": "platform.runtimeDone"' in text
