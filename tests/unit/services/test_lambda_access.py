"""Policy, tags and concurrency: what hangs on a function without touching its environments."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, provider_in

from preheat.kernel.errors import AwsError

PERMISSION = {
    "FunctionName": "iris",
    "StatementId": "gateway",
    "Action": "lambda:InvokeFunction",
    "Principal": "apigateway.amazonaws.com",
    "SourceArn": "arn:aws:execute-api:us-east-1:000000000000:abc/*/POST/iris",
}


def test_a_permission_is_shown_as_aws_shows_it_until_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            statement = {
                "Sid": "gateway",
                "Effect": "Allow",
                "Principal": {"Service": "apigateway.amazonaws.com"},
                "Action": "lambda:InvokeFunction",
                "Resource": f"{ARN}iris",
                "Condition": {"ArnLike": {"AWS:SourceArn": PERMISSION["SourceArn"]}},
            }
            assert json.loads(provider.add_permission(CONTEXT, PERMISSION)["Statement"]) == statement
            with pytest.raises(AwsError, match=r"The statement id \(gateway\) provided already exists") as error:
                provider.add_permission(CONTEXT, PERMISSION)
            assert (error.value.status, error.value.code) == (409, "ResourceConflictException")
            policy = provider.get_policy(CONTEXT, {"FunctionName": "iris"})
            assert json.loads(policy["Policy"]) == {
                "Version": "2012-10-17",
                "Id": "default",
                "Statement": [statement],
            }
            removal = {"FunctionName": "iris", "StatementId": "gateway"}
            with pytest.raises(AwsError, match="The Revision Id provided does not match") as error:
                provider.remove_permission(CONTEXT, {**removal, "RevisionId": "old"})
            assert error.value.status == 412
            with pytest.raises(AwsError, match="Statement other is not found in resource policy"):
                provider.remove_permission(CONTEXT, {**removal, "StatementId": "other"})
            provider.remove_permission(CONTEXT, {**removal, "RevisionId": policy["RevisionId"]})
            with pytest.raises(AwsError, match="The resource you requested does not exist") as error:
                provider.get_policy(CONTEXT, {"FunctionName": "iris"})
            assert error.value.status == 404

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("principal", "shown"),
    [
        ("*", "*"),
        ("123456789012", {"AWS": "arn:aws:iam::123456789012:root"}),
        ("arn:aws:iam::123456789012:user/x", {"AWS": "arn:aws:iam::123456789012:user/x"}),
    ],
)
def test_principals(tmp_path: Path, principal: str, shown: object) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            added = provider.add_permission(CONTEXT, {**PERMISSION, "Principal": principal})
            assert json.loads(added["Statement"])["Principal"] == shown

    asyncio.run(scenario())


def test_a_principal_that_is_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            with pytest.raises(AwsError, match="The provided principal was invalid"):
                provider.add_permission(CONTEXT, {**PERMISSION, "Principal": "invalid.nonaws.com"})

    asyncio.run(scenario())


def test_an_alias_and_a_version_have_policies_of_their_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            provider.publish_version(CONTEXT, {"FunctionName": "iris"})
            alias = {"FunctionName": "iris", "Name": "prod"}
            before = provider.create_alias(CONTEXT, {**alias, "FunctionVersion": "1"})["RevisionId"]
            for qualifier in ("1", "prod"):
                added = provider.add_permission(CONTEXT, {**PERMISSION, "Qualifier": qualifier})
                assert json.loads(added["Statement"])["Resource"] == f"{ARN}iris:{qualifier}"
            after = provider.get_alias(CONTEXT, alias)["RevisionId"]
            assert after != before
            assert provider.get_policy(CONTEXT, {"FunctionName": "iris:prod"})["RevisionId"] == after
            with pytest.raises(AwsError, match="The resource you requested does not exist"):
                provider.get_policy(CONTEXT, {"FunctionName": "iris"})
            for qualifier, message in (
                ("$LATEST", "We currently do not support adding policies for $LATEST."),
                ("nope", f"Cannot find alias arn: {ARN}iris:nope"),
                ("9", f"Function not found: {ARN}iris:9"),
            ):
                with pytest.raises(AwsError) as error:
                    provider.add_permission(CONTEXT, {**PERMISSION, "Qualifier": qualifier})
                assert error.value.message == message
            provider.delete_alias(CONTEXT, alias)
            provider.create_alias(CONTEXT, {**alias, "FunctionVersion": "1"})
            with pytest.raises(AwsError, match="The resource you requested does not exist"):
                provider.get_policy(CONTEXT, {"FunctionName": "iris:prod"})

    asyncio.run(scenario())


def test_tags_belong_to_functions_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            before = await created(provider)
            provider.publish_version(CONTEXT, {"FunctionName": "iris"})
            with pytest.raises(AwsError, match="Tags on function aliases and versions are not supported"):
                provider.tag_resource(CONTEXT, {"Resource": f"{ARN}iris:1", "Tags": {"a": "b"}})
            provider.tag_resource(CONTEXT, {"Resource": f"{ARN}iris", "Tags": {"a": "b"}})
            after = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})
            assert after["RevisionId"] != before["RevisionId"], "recorded on AWS"

    asyncio.run(scenario())


def test_tags_are_added_replaced_and_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider, Tags={"a": "1"})
            resource = {"Resource": f"{ARN}iris"}
            provider.tag_resource(CONTEXT, {**resource, "Tags": {"a": "2", "b": "3"}})
            assert provider.list_tags(CONTEXT, resource) == {"Tags": {"a": "2", "b": "3"}}
            provider.untag_resource(CONTEXT, {**resource, "TagKeys": ["a", "never"]})
            assert provider.list_tags(CONTEXT, resource) == {"Tags": {"b": "3"}}
            with pytest.raises(AwsError, match="Number of tags exceeds resource tag limit"):
                provider.tag_resource(CONTEXT, {**resource, "Tags": {f"t{n}": "" for n in range(50)}})
            assert provider.list_tags(CONTEXT, resource) == {"Tags": {"b": "3"}}

    asyncio.run(scenario())


def test_reserved_concurrency_reaches_the_revision_and_keeps_its_environments(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            before = provider.resolve("iris")
            named = {"FunctionName": "iris"}
            assert provider.get_function_concurrency(CONTEXT, named) == {}
            provider.put_function_concurrency(CONTEXT, {**named, "ReservedConcurrentExecutions": 5})
            assert provider.get_function_concurrency(CONTEXT, named) == {"ReservedConcurrentExecutions": 5}
            after = provider.resolve(f"{ARN}iris")
            assert (after.reserved_concurrency, after.revision_id) == (5, before.revision_id)
            assert provider.get_function(CONTEXT, named)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
            provider.delete_function_concurrency(CONTEXT, named)
            assert provider.resolve("iris").reserved_concurrency is None
            assert invoker.retired == []

    asyncio.run(scenario())


def test_a_hundred_executions_stay_unreserved(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path, account_concurrency=300) as provider:
            await created(provider)
            await created(provider, "rose")
            put = provider.put_function_concurrency
            put(CONTEXT, {"FunctionName": "rose", "ReservedConcurrentExecutions": 50})
            put(CONTEXT, {"FunctionName": "iris", "ReservedConcurrentExecutions": 150})
            with pytest.raises(AwsError, match=r"below its minimum value of \[100\]"):
                put(CONTEXT, {"FunctionName": "iris", "ReservedConcurrentExecutions": 151})
            put(CONTEXT, {"FunctionName": "iris", "ReservedConcurrentExecutions": 0})
            account: dict[str, Any] = provider.get_account_settings(CONTEXT, {})
            assert account["AccountLimit"]["UnreservedConcurrentExecutions"] == 250
            assert account["AccountLimit"]["ConcurrentExecutions"] == 300
            assert account["AccountUsage"]["FunctionCount"] == 2
            assert account["AccountUsage"]["TotalCodeSize"] > 0

    asyncio.run(scenario())
