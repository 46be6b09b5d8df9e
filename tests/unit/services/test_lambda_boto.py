"""The services as a stock AWS client sees them: waiters, paginators, error classes, every member on the wire."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto_in_process import Cloud, cloud
from botocore.exceptions import ClientError
from lambda_harness import ARN, FakeInvoker, creation, this_python, zipped

from preheat.kernel.settings import Settings
from preheat.services.identity.provider import IamProvider, StsProvider
from preheat.services.identity.store import IdentityStore
from preheat.services.lambda_.provider import LambdaProvider
from preheat.services.logs.provider import LogsProvider
from preheat.services.logs.store import LogStore

ACCOUNT = "000000000000"
OFTEN = {"Delay": 0.1}


class Clients:
    """A client per service, made when first named (each costs some 0.2 s)."""

    def __init__(self, made: Cloud) -> None:
        self._cloud = made

    def __getattr__(self, name: str) -> Any:
        client = self._cloud.client("lambda" if name == "function" else name)
        setattr(self, name, client)
        return client


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Any]:
    with cloud() as made:
        provider = made.run(lambda: start(made, tmp_path))
        yield Clients(made)
        made.run(provider.close)


async def start(made: Cloud, data_dir: Path) -> LambdaProvider:
    provider = LambdaProvider(Settings(data_dir=data_dir), FakeInvoker(), this_python)
    await provider.start()
    logs, identity = LogStore(data_dir), IdentityStore(data_dir, ACCOUNT)
    made.serve(
        {
            "lambda": provider,
            "logs": LogsProvider(logs, "us-east-1", ACCOUNT),
            "iam": IamProvider(identity),
            "sts": StsProvider(identity),
        }
    )
    return provider


def test_a_function_from_creation_to_deletion(aws: Any) -> None:
    client = aws.function
    role = aws.iam.get_role(RoleName="LabRole")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "lambda.amazonaws.com"}
    variables = {"Environment": {"Variables": {"GREETING": "hi"}}}
    made = client.create_function(**{**creation(), "Role": role["Arn"], "Tags": {"a": "b"}}, **variables)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    client.get_waiter("function_active_v2").wait(FunctionName="iris", WaiterConfig=OFTEN)

    client.update_function_configuration(FunctionName="iris", MemorySize=256)
    client.get_waiter("function_updated_v2").wait(FunctionName="iris", WaiterConfig=OFTEN)
    client.update_function_code(FunctionName="iris", ZipFile=zipped({"lambda_function.py": b"# new\n"}))
    client.get_waiter("function_updated").wait(FunctionName="iris", WaiterConfig=OFTEN)
    found = client.get_function(FunctionName="iris")
    assert (found["Configuration"]["MemorySize"], found["Tags"]) == (256, {"a": "b"})
    assert found["Configuration"]["Environment"] == variables["Environment"]

    answer = client.invoke(FunctionName="iris", Payload=b"{}", LogType="Tail")
    assert json.loads(answer["Payload"].read()) == {"ok": True}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert base64.b64decode(answer["LogResult"]) == b"the tail\n"
    assert client.invoke(FunctionName="iris", InvocationType="DryRun")["StatusCode"] == 204

    client.put_function_concurrency(FunctionName="iris", ReservedConcurrentExecutions=3)
    assert client.get_function_concurrency(FunctionName="iris")["ReservedConcurrentExecutions"] == 3
    client.delete_function_concurrency(FunctionName="iris")
    client.tag_resource(Resource=f"{ARN}iris", Tags={"c": "d"})
    client.untag_resource(Resource=f"{ARN}iris", TagKeys=["a"])
    assert client.list_tags(Resource=f"{ARN}iris")["Tags"] == {"c": "d"}
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    client.add_permission(FunctionName="iris", **permission)
    assert json.loads(client.get_policy(FunctionName="iris")["Policy"])["Statement"][0]["Sid"] == "s"
    client.remove_permission(FunctionName="iris", StatementId="s")
    assert client.get_account_settings()["AccountLimit"]["CodeSizeZipped"] == 52_428_800

    client.delete_function(FunctionName="iris")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found"):
        client.get_function(FunctionName="iris")


def test_errors_are_the_clients_own_classes(aws: Any) -> None:
    client = aws.function
    client.create_function(**creation())
    with pytest.raises(client.exceptions.ResourceConflictException, match="Function already exist: iris"):
        client.create_function(**creation())
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="Could not unzip"):
        client.create_function(**creation("rose", Code={"ZipFile": b"junk"}))
    with pytest.raises(ClientError, match="VpcConfig is not built in preheat yet") as refusal:
        client.create_function(**creation("rose", VpcConfig={"SubnetIds": ["subnet-1"]}))
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    with pytest.raises(ClientError) as refusal:
        client.update_function_configuration(FunctionName="nobody", Timeout=901)
    assert refusal.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_functions_are_paginated(aws: Any) -> None:
    names = [f"f{number}" for number in range(5)]
    for name in names:
        aws.function.create_function(**creation(name))
    pages = aws.function.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    assert [f["FunctionName"] for page in pages for f in page["Functions"]] == names


def test_logs_by_their_own_client(aws: Any) -> None:
    client, now = aws.logs, int(time.time() * 1000)
    client.create_log_group(logGroupName="g", tags={"a": "b"})
    client.create_log_stream(logGroupName="g", logStreamName="2026/01/01/[$LATEST]0")
    where = {"logGroupName": "g", "logStreamName": "2026/01/01/[$LATEST]0"}
    events = [{"timestamp": now + number, "message": f"REPORT {number}\t\n"} for number in range(7)]
    client.put_log_events(**where, logEvents=events)
    got = client.get_log_events(**where, startFromHead=True)
    assert [(event["timestamp"], event["message"]) for event in got["events"]] == [
        (event["timestamp"], event["message"]) for event in events
    ]
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName="g", filterPattern="REPORT", PaginationConfig={"PageSize": 3}
    )
    assert [e["message"] for page in pages for e in page["events"]] == [event["message"] for event in events]
    (group,) = client.get_paginator("describe_log_groups").paginate().build_full_result()["logGroups"]
    assert "retentionInDays" not in group
    (stream,) = client.describe_log_streams(logGroupName="g", orderBy="LastEventTime")["logStreams"]
    assert stream["lastEventTimestamp"] == now + 6
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="The specified log group does not exist"):
        client.describe_log_streams(logGroupName="nope")


def test_identity_by_its_own_clients(aws: Any) -> None:
    assert aws.sts.get_caller_identity()["Account"] == ACCOUNT
    session = aws.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/LabRole", RoleSessionName="me")
    assert session["Credentials"]["Expiration"].timestamp() > time.time() + 3500
    with pytest.raises(aws.iam.exceptions.NoSuchEntityException, match="The role with name x cannot be found"):
        aws.iam.get_role(RoleName="x")
    assert [role["RoleName"] for role in aws.iam.list_roles()["Roles"]] == ["LabRole"]
