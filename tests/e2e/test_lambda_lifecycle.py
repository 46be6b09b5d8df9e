"""Lambda's whole life cycle as boto3 sees it, on a server that really runs the functions."""

from __future__ import annotations

import io
import json
import signal
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from e2e_cloud import ROLE, Cloud, ask, eventually, remains, zipped

SOURCE = """
import json, os

LOADED = os.environ.get("STAGE", "none")


def lambda_handler(event, context):
    if isinstance(event, dict) and event.get("raise"):
        raise ValueError(event["raise"])
    print(json.dumps({"id": context.aws_request_id, "event": event}))
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("as asked")
    return {
        "stage": LOADED,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "environment": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
    }
"""
FAST = {"Delay": 0.1}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud") / "data", "--async-retry-s", "0.2").start()
    yield made
    assert made.end() == 0
    assert remains(made.data_dir) == []


def invoke(cloud: Cloud, name: str, event: Any = None, **more: Any) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event), **more)
    return json.loads(answer["Payload"].read())


def stage(cloud: Cloud, name: str, value: str, **more: Any) -> str:
    """Change $LATEST and publish it; the version."""
    client = cloud.client("lambda")
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"STAGE": value}}, **more)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version, WaiterConfig=FAST)
    return str(version)


def test_versions_and_aliases_run_what_they_name(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    arn = cloud.create_function("staged", SOURCE, Environment={"Variables": {"STAGE": "zero"}})
    assert [stage(cloud, "staged", value) for value in ("one", "two")] == ["1", "2"]
    client.create_alias(FunctionName="staged", Name="prod", FunctionVersion="1")
    expected = {
        "staged": ("two", "$LATEST", arn),
        "staged:1": ("one", "1", f"{arn}:1"),
        f"{arn}:2": ("two", "2", f"{arn}:2"),
        "staged:prod": ("one", "1", f"{arn}:prod"),
    }
    for name, (value, version, invoked) in expected.items():
        said = invoke(cloud, name)
        assert (said["stage"], said["version"], said["arn"]) == (value, version, invoked)
        assert f"[{version}]" in said["environment"]
    answer = client.invoke(FunctionName="staged", Qualifier="prod")
    assert (answer["ExecutedVersion"], answer["StatusCode"]) == ("1", 200)
    warm = [invoke(cloud, "staged:1")["environment"] for _ in range(2)]
    client.update_alias(
        FunctionName="staged",
        Name="prod",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}},
    )
    served = {client.invoke(FunctionName="staged:prod")["ExecutedVersion"] for _ in range(60)}
    assert served == {"1", "2"}
    assert invoke(cloud, "staged:1")["environment"] == warm[0], "an update of $LATEST or an alias leaves it warm"
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName="staged", PaginationConfig={"PageSize": 1}
    )
    assert [version["Version"] for page in pages for version in page["Versions"]] == ["$LATEST", "1", "2"]
    with pytest.raises(client.exceptions.ResourceConflictException, match="the following aliases reference it"):
        client.delete_function(FunctionName="staged", Qualifier="2")
    client.delete_function(FunctionName="staged")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="staged", Qualifier="1")


def test_a_response_stream(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    cloud.create_function("streamed", SOURCE)
    answer = client.invoke_with_response_stream(FunctionName="streamed", Payload=b"{}", LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    *chunks, complete = list(answer["EventStream"])
    body = b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks)
    assert json.loads(body)["version"] == "$LATEST"
    assert complete["InvokeComplete"]["LogResult"]
    failed = list(
        client.invoke_with_response_stream(FunctionName="streamed", Payload=b'{"raise": "no"}')["EventStream"]
    )
    assert failed[-1]["InvokeComplete"]["ErrorCode"] == "Unhandled"


def diary(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    """What a function has printed of its invocations, oldest first."""
    client = cloud.client("logs")
    try:
        events = client.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="event")["events"]
    except client.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(event["message"]) for event in events if event["message"].startswith('{"id"')]


def test_events_are_retried_and_go_to_their_destinations(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    arn = cloud.create_function("listener", SOURCE)
    cloud.create_function("source", SOURCE)
    client.put_function_event_invoke_config(
        FunctionName="source", MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    answer = client.invoke(FunctionName="source", InvocationType="Event", Payload=b'{"fail": true}')
    assert answer["StatusCode"] == 202
    (entry,) = eventually(lambda: diary(cloud, "listener"))
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert [each["id"] for each in diary(cloud, "source")] == [request_id] * 2
    assert entry["event"]["requestContext"]["condition"] == "RetriesExhausted"
    assert entry["event"]["responsePayload"]["errorMessage"] == "as asked"


def test_an_accepted_event_survives_sigkill(tmp_path: Path) -> None:
    """The function's only place is taken while the events come: none has begun when the server is killed."""
    cloud = Cloud(tmp_path / "data").start()
    try:
        source = f"import time\n{SOURCE}".replace("    return {", "    time.sleep(event.get('sleep', 0))\n    return {")
        cloud.create_function("slow", source, Timeout=60)
        client, ids = cloud.client("lambda"), set()
        client.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(client.invoke, FunctionName="slow", Payload=b'{"sleep": 50}')
            eventually(lambda: serving(cloud, "slow"))
            for _ in range(5):
                answer = client.invoke(FunctionName="slow", InvocationType="Event")
                ids.add(answer["ResponseMetadata"]["RequestId"])
            assert cloud.end(signal.SIGKILL) == -signal.SIGKILL
            with pytest.raises((ConnectionError, HTTPClientError)):
                taken.result()
        assert not ids & {record["request_id"] for record in journal_at_rest(cloud)}, "else this proves nothing"
        cloud.start()
        cloud.client("lambda").delete_function_concurrency(FunctionName="slow")
        eventually(lambda: ids <= {entry["id"] for entry in diary(cloud, "slow")}, limit_s=60)
    finally:
        cloud.end()


def serving(cloud: Cloud, name: str) -> int:
    count: int = ask(f"{cloud.url}/_preheat/status").json()["functions"].get(name, {}).get("serving", 0)
    return count


def journal_at_rest(cloud: Cloud) -> list[dict[str, Any]]:
    lines = [line for path in (cloud.data_dir / "journal").rglob("*") for line in path.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if record.get("type") == "invocation"]


def test_layers_are_importable(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    arns = []
    for name in ("one", "two"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"python/layer_{name}.py", f"NAME = {name!r}\n")
        arns.append(
            client.publish_layer_version(LayerName=f"e2e-{name}", Content={"ZipFile": buffer.getvalue()})[
                "LayerVersionArn"
            ]
        )
    source = "import layer_one, layer_two\ndef lambda_handler(e, c):\n    return layer_one.NAME + layer_two.NAME\n"
    cloud.create_function("layered", source, Layers=arns)
    assert invoke(cloud, "layered") == "onetwo"


def test_provisioned_environments_are_warm_before_the_first_request(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    cloud.create_function("ready", SOURCE)
    client.publish_version(FunctionName="ready")
    client.put_provisioned_concurrency_config(FunctionName="ready", Qualifier="1", ProvisionedConcurrentExecutions=2)

    def status() -> Any:
        found = client.get_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")
        return found if found["Status"] != "IN_PROGRESS" else None

    found = eventually(status)
    assert (found["Status"], found["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    started = {record["environment"] for record in cloud.records("environment_started", "ready")}
    assert len(started) == 2
    invoke(cloud, "ready:1")
    (served,) = cloud.records("invocation", "ready")
    assert served["environment"] in started
    client.delete_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")


def test_a_snapstart_version_becomes_active_and_serves(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    cloud.create_function("snapped", SOURCE, SnapStart={"ApplyOn": "PublishedVersions"})
    client.publish_version(FunctionName="snapped")
    client.get_waiter("published_version_active").wait(FunctionName="snapped", Qualifier="1", WaiterConfig=FAST)
    found = client.get_function_configuration(FunctionName="snapped", Qualifier="1")
    assert found["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert invoke(cloud, "snapped:1")["version"] == "1"


def test_a_version_whose_snapshot_fails_says_why(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    cloud.create_function("broken", "raise RuntimeError('no model')\n", SnapStart={"ApplyOn": "PublishedVersions"})
    client.publish_version(FunctionName="broken")

    def failed() -> Any:
        found = client.get_function_configuration(FunctionName="broken", Qualifier="1")
        return found if found["State"] == "Failed" else None

    assert eventually(failed)["StateReason"]


def test_fifty_creates_and_deletes_of_one_name(cloud: Cloud) -> None:
    """Fault 15: one gets it at a time, the others are told so, and nothing is left over."""
    code, client = zipped(SOURCE), cloud.client("lambda")
    facts = {"Runtime": "python3.11", "Role": ROLE, "Handler": "lambda_function.lambda_handler"}

    def call(number: int) -> str:
        try:
            if number % 2:
                client.create_function(FunctionName="contested", Code={"ZipFile": code}, **facts)
            else:
                client.delete_function(FunctionName="contested")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "created" if number % 2 else "deleted"

    with ThreadPoolExecutor(25) as threads:
        outcomes = list(threads.map(call, range(100)))
    created, deleted = outcomes.count("created"), outcomes.count("deleted")
    assert set(outcomes) <= {"created", "deleted", "ResourceConflictException", "ResourceNotFoundException"}
    assert created >= 1
    names = [function["FunctionName"] for function in client.list_functions()["Functions"]]
    assert ("contested" in names) == (created == deleted + 1)
    assert deleted in (created, created - 1)
    if created == deleted:
        client.create_function(FunctionName="contested", Code={"ZipFile": code}, **facts)
    client.get_waiter("function_active_v2").wait(FunctionName="contested", WaiterConfig=FAST)
    assert invoke(cloud, "contested")["version"] == "$LATEST"


def test_a_function_url_answers_for_the_version_behind_its_alias(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    cloud.create_function("reachable", SOURCE)
    stage(cloud, "reachable", "one")
    client.create_alias(FunctionName="reachable", Name="prod", FunctionVersion="1")
    made = client.create_function_url_config(FunctionName="reachable", Qualifier="prod", AuthType="NONE")
    said = ask(made["FunctionUrl"]).json()
    assert (said["stage"], said["version"]) == ("one", "1")


def test_a_snapstart_version_with_layers_and_provisioned_refused(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/shared.py", "NAME = 'from the layer'\n")
    layer = client.publish_layer_version(LayerName="snapped", Content={"ZipFile": buffer.getvalue()})
    source = "import shared\ndef lambda_handler(e, c):\n    return shared.NAME\n"
    cloud.create_function(
        "layeredsnap", source, Layers=[layer["LayerVersionArn"]], SnapStart={"ApplyOn": "PublishedVersions"}
    )
    client.publish_version(FunctionName="layeredsnap")
    client.get_waiter("published_version_active").wait(FunctionName="layeredsnap", Qualifier="1", WaiterConfig=FAST)
    assert invoke(cloud, "layeredsnap:1") == "from the layer"
    with pytest.raises(ClientError, match="not supported for SnapStart"):
        client.put_provisioned_concurrency_config(
            FunctionName="layeredsnap", Qualifier="1", ProvisionedConcurrentExecutions=1
        )
