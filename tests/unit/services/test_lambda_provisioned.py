"""Provisioned concurrency: what is asked of the invoker, what the API shows, what AWS refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, provider_in

from preheat.kernel.errors import AwsError

IRIS = {"FunctionName": "iris"}


async def with_versions(provider: Any) -> None:
    """Versions 1 and 2, alias prod on 1."""
    await created(provider)
    provider.publish_version(CONTEXT, IRIS)
    await provider.update_function_configuration(CONTEXT, {**IRIS, "Timeout": 9})
    await provider.settled()
    provider.publish_version(CONTEXT, IRIS)
    provider.create_alias(CONTEXT, {**IRIS, "Name": "prod", "FunctionVersion": "1"})


def put(provider: Any, qualifier: str, count: int) -> dict[str, Any]:
    params = {**IRIS, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": count}
    answer: dict[str, Any] = provider.put_provisioned_concurrency_config(CONTEXT, params)
    return answer


def get(provider: Any, qualifier: str) -> dict[str, Any]:
    answer: dict[str, Any] = provider.get_provisioned_concurrency_config(CONTEXT, {**IRIS, "Qualifier": qualifier})
    return answer


def test_in_progress_then_ready_and_gone_when_deleted(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    invoker.capacity = 0

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await with_versions(provider)
            answer = put(provider, "2", 3)
            modified = answer.pop("LastModified")
            assert modified.endswith("+0000")
            assert answer == {
                "RequestedProvisionedConcurrentExecutions": 3,
                "AvailableProvisionedConcurrentExecutions": 0,
                "AllocatedProvisionedConcurrentExecutions": 0,
                "Status": "IN_PROGRESS",
            }
            version = provider.resolve("iris:2")
            assert invoker.provisions == {version.revision_id: 3}
            assert get(provider, "2")["Status"] == "IN_PROGRESS"
            invoker.capacity, invoker.shortage = 2, "no more memory"
            assert (get(provider, "2")["Status"], get(provider, "2")["StatusReason"]) == ("FAILED", "no more memory")
            invoker.provisions.clear()
            put(provider, "2", 3)
            assert invoker.provisions == {version.revision_id: 3}, "asked again, as it had failed"
            invoker.capacity = 10
            ready = get(provider, "2")
            assert (ready["Status"], ready["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 3)
            assert "StatusReason" not in ready
            (item,) = provider.list_provisioned_concurrency_configs(CONTEXT, IRIS)["ProvisionedConcurrencyConfigs"]
            assert item == {"FunctionArn": f"{ARN}iris:2", **ready}
            for _ in range(2):
                provider.delete_provisioned_concurrency_config(CONTEXT, {**IRIS, "Qualifier": "2"})
            assert invoker.provisions == {version.revision_id: 0}
            with pytest.raises(AwsError) as error:
                get(provider, "2")
            assert (error.value.code, error.value.message) == (
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )

    asyncio.run(scenario())


def test_it_follows_its_alias_and_is_there_after_a_restart(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await with_versions(provider)
            put(provider, "prod", 2)
            one, two = provider.resolve("iris:1").revision_id, provider.resolve("iris:2").revision_id
            assert invoker.provisions == {one: 2}
            provider.update_alias(CONTEXT, {**IRIS, "Name": "prod", "FunctionVersion": "2"})
            assert invoker.provisions == {one: 0, two: 2}
        again = FakeInvoker()
        async with provider_in(tmp_path, again) as provider:
            assert again.provisions == {two: 2}
            assert get(provider, "prod")["Status"] == "READY"
            provider.delete_alias(CONTEXT, {**IRIS, "Name": "prod"})
            assert again.provisions == {two: 0}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("qualifier", "count", "expected"),
    [
        (
            "$LATEST",
            1,
            (400, "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
        ),
        ("test", 1, (404, f"Cannot find alias arn: {ARN}iris:test")),
        ("9", 1, (404, f"Function not found: {ARN}iris:9")),
        (
            "1",
            1001,
            (
                400,
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
            ),
        ),
        (
            "1",
            901,
            (
                400,
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                "its minimum value of [100].",
            ),
        ),
        ("latest", 1, (400, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")),
        (
            "prod",
            1,
            (409, "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"),
        ),
        ("2", 1, (409, "Version is pointed by a Provisioned Concurrency alias")),
    ],
)
def test_refusals(tmp_path: Path, qualifier: str, count: int, expected: tuple[int, str]) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await with_versions(provider)
            provider.create_alias(CONTEXT, {**IRIS, "Name": "latest", "FunctionVersion": "$LATEST"})
            provider.create_alias(CONTEXT, {**IRIS, "Name": "blue", "FunctionVersion": "2"})
            if expected[0] == 409:
                put(provider, "1" if qualifier == "prod" else "blue", 1)
            before = dict(invoker.provisions)
            with pytest.raises(AwsError) as error:
                put(provider, qualifier, count)
            assert (error.value.status, error.value.message) == expected
            assert invoker.provisions == before

    asyncio.run(scenario())


def test_reserved_and_provisioned_concurrency_know_each_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await with_versions(provider)
            put(provider, "1", 5)
            limits = provider.get_account_settings(CONTEXT, {})["AccountLimit"]
            assert limits["UnreservedConcurrentExecutions"] == 995
            with pytest.raises(AwsError) as error:
                provider.put_function_concurrency(CONTEXT, {**IRIS, "ReservedConcurrentExecutions": 4})
            assert error.value.message == (
                " ReservedConcurrentExecutions  4 should not be lower than function's total provisioned "
                "concurrency [5]."
            )
            provider.put_function_concurrency(CONTEXT, {**IRIS, "ReservedConcurrentExecutions": 6})
            assert provider.get_account_settings(CONTEXT, {})["AccountLimit"]["UnreservedConcurrentExecutions"] == 994
            with pytest.raises(AwsError, match="should not be greater than the reservedConcurrentExecution"):
                put(provider, "2", 2)
            for qualifier in ("$LATEST", "1", "prod"):
                with pytest.raises(AwsError, match="This operation is permitted on Lambda functions only"):
                    provider.put_function_concurrency(
                        CONTEXT, {"FunctionName": f"iris:{qualifier}", "ReservedConcurrentExecutions": 9}
                    )

    asyncio.run(scenario())
