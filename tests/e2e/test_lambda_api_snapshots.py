"""Answers of Lambda's API as recorded on AWS, call by call.

The facts are from the public recordings for the same API (localstack/localstack, tests/aws/services/lambda_/
test_lambda_api.snapshot.json and test_lambda.snapshot.json, recorded 2024); rows and docstrings name its scenarios.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from e2e_cloud import Cloud, ask, eventually, zipped
from lambda_refusals import ARN, DOTTED, GONE, IRIS, ROWS, SOURCE, Row, broken


@pytest.fixture(scope="module")
def client(cloud: Cloud) -> Any:
    """Of a cloud with the function `iris`, its version 1 and the layer `tools`."""
    cloud.create_function("iris", SOURCE)
    made = cloud.client("lambda")
    made.publish_version(**IRIS)
    made.publish_layer_version(LayerName="tools", Content={"ZipFile": zipped("", "python/tools.py")})
    return made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.scenario)
def test_a_refusal(client: Any, row: Row) -> None:
    with pytest.raises(ClientError) as refusal:
        getattr(client, row.operation)(**row.params)
    answer = dict(refusal.value.response)
    assert answer.pop("ResponseMetadata")["HTTPStatusCode"] == row.status
    assert answer.pop("Error") == {"Code": row.code, "Message": row.message}
    expected = {row.body_key: row.message} if row.body_key else {}
    assert answer == {**expected, **({"Type": "User"} if row.typed else {})}, "every key of the body"


def test_several_broken_rules_are_told_at_once(client: Any) -> None:
    """test_function_name_and_qualifier_validation: full_arn_and_qualifier_too_long_and_invalid_region."""
    name = f"arn:aws:lambda:invalid-region:000000000000:function:my-function-{'a' * 170}"
    with pytest.raises(ClientError) as refusal:
        client.invoke(FunctionName=name, Qualifier="a" * 129)
    count, _, problems = refusal.value.response["Error"]["Message"].partition(" detected: ")
    assert count == "3 validation errors"
    assert sorted(problems.split("; ")) == [
        broken("a" * 129, "qualifier", "have length less than or equal to 128"),
        broken(name, "functionName", "have length less than or equal to 170"),
        broken(name, "functionName", f"satisfy regular expression pattern: {DOTTED}"),
    ]


def test_deleting_what_is_neither_a_version_nor_an_alias(client: Any) -> None:
    """test_function_name_and_qualifier_validation[lowercase_latest_qualifier-delete_function] is no error."""
    answer = client.delete_function(**GONE, Qualifier="$latest")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_recursion_and_runtime_management_are_stored(client: Any) -> None:
    """test_put_function_recursion_config_default_terminate, ..._allow."""
    assert client.get_function_recursion_config(**IRIS)["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(**IRIS, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(**IRIS)["RecursiveLoop"] == "Allow"
    assert client.get_runtime_management_config(**IRIS)["UpdateRuntimeOn"] == "Auto"
    client.put_runtime_management_config(**IRIS, Qualifier="1", UpdateRuntimeOn="FunctionUpdate")
    assert client.get_runtime_management_config(**IRIS, Qualifier="1")["UpdateRuntimeOn"] == "FunctionUpdate"
    assert client.get_runtime_management_config(**IRIS)["UpdateRuntimeOn"] == "Auto"
    arn = client.get_function_configuration(**IRIS)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    manual = client.put_runtime_management_config(**IRIS, UpdateRuntimeOn="Manual", RuntimeVersionArn=arn)
    assert manual["RuntimeVersionArn"] == arn
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.put_runtime_management_config(**IRIS, UpdateRuntimeOn="Manual")


def test_a_code_signing_configuration_from_creation_to_deletion(client: Any) -> None:
    """test_function_code_signing_config."""
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/test"]}
    made = client.create_code_signing_config(
        Description="ours",
        AllowedPublishers=publishers,
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    config = made["CodeSigningConfig"]
    arn = {"CodeSigningConfigArn": config["CodeSigningConfigArn"]}
    assert set(config) == {
        *("CodeSigningConfigId", "CodeSigningConfigArn", "Description"),
        *("AllowedPublishers", "CodeSigningPolicies", "LastModified"),
    }
    changed = client.update_code_signing_config(**arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"})
    assert changed["CodeSigningConfig"]["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert client.get_code_signing_config(**arn)["CodeSigningConfig"] == changed["CodeSigningConfig"]
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == [changed["CodeSigningConfig"]]
    put = client.put_function_code_signing_config(**IRIS, **arn)
    assert (put["CodeSigningConfigArn"], put["FunctionName"]) == (*arn.values(), "iris")
    assert client.get_function_code_signing_config(**IRIS)["CodeSigningConfigArn"] == arn["CodeSigningConfigArn"]
    assert client.list_functions_by_code_signing_config(**arn)["FunctionArns"] == [f"{ARN}iris"]
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_code_signing_config(**arn)
    assert client.delete_function_code_signing_config(**IRIS)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(**IRIS)
    assert client.delete_code_signing_config(**arn)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.list_code_signing_configs()["CodeSigningConfigs"] == []


def test_there_are_no_event_source_mappings(client: Any) -> None:
    assert client.list_event_source_mappings()["EventSourceMappings"] == []
    with pytest.raises(ClientError) as refusal:
        client.create_event_source_mapping(**IRIS, EventSourceArn="arn:aws:sqs:us-east-1:000000000000:orders")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_what_is_provisioned_is_out_of_reach_for_latest(cloud: Cloud, client: Any) -> None:
    """test_lambda_concurrency_block, test_reserved_provisioned_overlap."""
    named = {"FunctionName": "blocked"}
    cloud.create_function("blocked", SOURCE)
    client.publish_version(**named)
    client.put_function_concurrency(**named, ReservedConcurrentExecutions=1)
    assert client.invoke(**named)["StatusCode"] == 200
    client.put_provisioned_concurrency_config(**named, Qualifier="1", ProvisionedConcurrentExecutions=1)
    eventually(lambda: client.get_provisioned_concurrency_config(**named, Qualifier="1")["Status"] == "READY")
    with pytest.raises(client.exceptions.TooManyRequestsException) as refusal:
        client.invoke(**named)
    assert refusal.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert client.invoke(**named, Qualifier="1")["StatusCode"] == 200
    with pytest.raises(client.exceptions.InvalidParameterValueException) as refusal:
        client.put_function_concurrency(**named, ReservedConcurrentExecutions=0)
    assert refusal.value.response["Error"]["Message"] == (
        " ReservedConcurrentExecutions  0 should not be lower than function's total provisioned concurrency [1]."
    )
    assert "Type" not in refusal.value.response


def test_the_url_a_function_gets_can_be_asked(cloud: Cloud, client: Any) -> None:
    """test_lambda_url_echo_http_fixture_default, test_request_id_invoke_url: one id for the answer and the function."""
    made = client.create_function_url_config(**IRIS, AuthType="NONE")
    answer = ask(f"{made['FunctionUrl']}/pa2%25Fth/1?a=b")
    assert answer.status == 200
    assert b": " not in answer.body, "test_lambda_url_invocation[dict]: JSON without blanks"
    event = answer.json()
    assert (event["rawPath"], event["requestContext"]["http"]["path"]) == ("/pa2%Fth/1", "/pa2%Fth/1")
    request_id = answer.headers["x-amzn-requestid"]
    assert event["requestContext"]["requestId"] == request_id
    assert [record["request_id"] for record in cloud.records("invocation", "iris")][-1] == request_id
    assert client.get_function_url_config(**IRIS)["FunctionUrl"] == made["FunctionUrl"]


def test_a_url_that_is_nobodys(cloud: Cloud) -> None:
    """test_lambda_url_non_existing_url."""
    answer = ask(f"{cloud.url}/_aws/lambda-url/{'0' * 32}/")
    assert (answer.status, answer.body) == (403, b'{"Message":null}')
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"


def test_a_urls_mode_is_shown_once_it_was_given(cloud: Cloud, client: Any) -> None:
    """test_lambda_update_function_url_config."""
    named = {"FunctionName": "moded"}
    cloud.create_function("moded", SOURCE)
    assert "InvokeMode" not in client.create_function_url_config(**named, AuthType="NONE")
    assert "InvokeMode" not in client.update_function_url_config(**named)
    assert client.get_function_url_config(**named)["InvokeMode"] == "BUFFERED"
    client.update_function_url_config(**named, InvokeMode="RESPONSE_STREAM")
    assert client.update_function_url_config(**named)["InvokeMode"] == "RESPONSE_STREAM"


def test_a_role_with_a_policy_of_its_own(cloud: Cloud) -> None:
    """What every recorded scenario begins and ends with: stored and shown, never enforced."""
    iam = cloud.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="su", AssumeRolePolicyDocument=json.dumps(trust))
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}
    arn = iam.create_policy(PolicyName="all", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="su", PolicyArn=arn)
    assert iam.list_attached_role_policies(RoleName="su")["AttachedPolicies"] == [
        {"PolicyName": "all", "PolicyArn": arn}
    ]
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == document
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="su")
    iam.detach_role_policy(RoleName="su", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    iam.delete_role(RoleName="su")
