"""Versions and aliases: published, pointed at, weighted, snapshotted, deleted; and there after a restart."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, FakeInvoker, created, creation, provider_in, zipped

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion
from preheat.kernel.http import HttpRequest

IRIS = {"FunctionName": "iris"}


def refusal(error: pytest.ExceptionInfo[AwsError]) -> tuple[int, str, str]:
    return error.value.status, error.value.code, error.value.message


async def publish(provider: Any, **more: Any) -> str:
    """Change the function so that there is something to publish; the version's number."""
    if more:
        await provider.update_function_configuration(CONTEXT, {**IRIS, **more})
        await provider.settled()
    version = provider.publish_version(CONTEXT, IRIS)["Version"]
    await provider.settled()
    return str(version)


def test_a_version_is_active_at_once_and_keeps_what_it_was_published_with(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            before = await created(provider, Environment={"Variables": {"STAGE": "one"}})
            first = provider.publish_version(CONTEXT, {**IRIS, "Description": "first"})
            assert first["FunctionArn"] == f"{ARN}iris:1"
            assert (first["Version"], first["Description"]) == ("1", "first")
            assert (first["State"], first["LastUpdateStatus"]) == ("Active", "Successful")
            assert first["RevisionId"] != before["RevisionId"]
            latest = provider.get_function_configuration(CONTEXT, IRIS)
            assert latest["RevisionId"] != before["RevisionId"], "publishing is a revision of $LATEST"
            assert provider.publish_version(CONTEXT, IRIS)["RevisionId"] == first["RevisionId"], "nothing has changed"

            assert await publish(provider, Environment={"Variables": {"STAGE": "two"}}) == "2"
            assert provider.resolve("iris:1").environment == {"STAGE": "one"}
            assert provider.resolve(f"{ARN}iris", "2").environment == {"STAGE": "two"}
            revisions = {provider.resolve(name).revision_id for name in ("iris", "iris:1", "iris:2")}
            assert len(revisions) == 3, "each version has environments of its own"
            assert [v.version for v in invoker.retired] == ["$LATEST"]

            listed = provider.list_versions_by_function(CONTEXT, IRIS)["Versions"]
            assert [(item["Version"], item["FunctionArn"]) for item in listed] == [
                ("$LATEST", f"{ARN}iris:$LATEST"),
                ("1", f"{ARN}iris:1"),
                ("2", f"{ARN}iris:2"),
            ]
            every = provider.list_functions(CONTEXT, {"FunctionVersion": "ALL"})["Functions"]
            assert every == listed
            assert provider.get_function(CONTEXT, {**IRIS, "Qualifier": "1"})["Configuration"]["Version"] == "1"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"RevisionId": "old"}, (412, "PreconditionFailedException", "The Revision Id provided does not match")),
        ({"CodeSha256": "abc"}, (400, "InvalidParameterValueException", "CodeSHA256 (abc) is different from current")),
        ({"FunctionName": "iris:1"}, (400, "InvalidParameterValueException", "permitted on Lambda functions only")),
        ({"FunctionName": "rose"}, (404, "ResourceNotFoundException", f"Function not found: {ARN}rose")),
    ],
)
def test_publishing_refused(tmp_path: Path, params: dict[str, Any], expected: tuple[int, str, str]) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            with pytest.raises(AwsError) as error:
                provider.publish_version(CONTEXT, {**IRIS, **params})
            assert refusal(error)[:2] == expected[:2]
            assert expected[2] in error.value.message
            assert len(provider.list_versions_by_function(CONTEXT, IRIS)["Versions"]) == 1

    asyncio.run(scenario())


def test_publish_with_creation_and_with_an_update(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            made = await provider.create_function(CONTEXT, creation(Publish=True))
            assert (made["Version"], made["FunctionArn"]) == ("1", f"{ARN}iris"), "as recorded on AWS"
            assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
            with pytest.raises(AwsError, match="currently in the following state: Pending"):
                provider.resolve("iris:1")
            await provider.settled()
            assert provider.resolve("iris:1").version == "1"
            code = zipped({"lambda_function.py": b"# two\n"})
            updated = await provider.update_function_code(CONTEXT, {**IRIS, "ZipFile": code, "Publish": True})
            assert (updated["Version"], updated["FunctionArn"], updated["State"]) == ("2", f"{ARN}iris:2", "Pending")
            assert "LastUpdateStatus" not in updated
            latest = provider.get_function_configuration(CONTEXT, {**IRIS, "Qualifier": "$LATEST"})
            assert (latest["State"], latest["LastUpdateStatus"]) == ("Active", "InProgress")
            await provider.settled()
            assert provider.resolve("iris:2").code_dir == provider.resolve("iris").code_dir
            assert provider.resolve("iris:2").code_dir != provider.resolve("iris:1").code_dir
            assert provider.publish_version(CONTEXT, IRIS)["Version"] == "2"

    asyncio.run(scenario())


def test_pages_of_versions_are_in_numeric_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            for number in range(1, 12):
                assert await publish(provider, Description=str(number)) == str(number)
            seen: list[str] = []
            params: dict[str, Any] = {**IRIS, "MaxItems": 4}
            while True:
                answer = provider.list_versions_by_function(CONTEXT, params)
                seen += [version["Version"] for version in answer["Versions"]]
                if "NextMarker" not in answer:
                    break
                params["Marker"] = answer["NextMarker"]
            assert seen == ["$LATEST", *map(str, range(1, 12))]

    asyncio.run(scenario())


def test_an_alias_in_every_spelling(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await publish(provider)
            alias = {**IRIS, "Name": "prod", "FunctionVersion": "1", "Description": "live"}
            made = provider.create_alias(CONTEXT, alias)
            revision = made.pop("RevisionId")
            shown = {"AliasArn": f"{ARN}iris:prod", "Name": "prod", "FunctionVersion": "1", "Description": "live"}
            assert made == shown
            assert provider.get_alias(CONTEXT, {**IRIS, "Name": "prod"}) == {**shown, "RevisionId": revision}
            with pytest.raises(AwsError) as error:
                provider.create_alias(CONTEXT, alias)
            assert refusal(error) == (409, "ResourceConflictException", f"Alias already exists: {ARN}iris:prod")
            for spelling in ("iris:prod", f"{ARN}iris:prod", "000000000000:function:iris:prod", "function:iris:prod"):
                assert provider.resolve(spelling).version == "1"
                found = provider.get_function(CONTEXT, {"FunctionName": spelling})["Configuration"]
                assert (found["FunctionArn"], found["Version"]) == (f"{ARN}iris:prod", "1")
                path = f"/2015-03-31/functions/{spelling}/invocations"
                answer = await provider.invoke_http(HttpRequest("POST", path, body=b"{}"), spelling)
                assert ("X-Amz-Executed-Version", "1") in answer.headers
                assert invoker.asked[-1][1].invoked_arn == f"{ARN}iris:prod"
            assert provider.resolve("iris", "prod") is provider.resolve("iris:1")

    asyncio.run(scenario())


def test_an_alias_moves_and_its_environments_stay(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await publish(provider)
            await publish(provider, Timeout=9)
            named = {**IRIS, "Name": "prod"}
            first = provider.create_alias(CONTEXT, {**named, "FunctionVersion": "1"})
            moved = provider.update_alias(CONTEXT, {**named, "FunctionVersion": "2", "RevisionId": first["RevisionId"]})
            assert provider.resolve("iris:prod").version == "2"
            assert moved["RevisionId"] != first["RevisionId"]
            with pytest.raises(AwsError) as error:
                provider.update_alias(CONTEXT, {**named, "RevisionId": first["RevisionId"]})
            assert refusal(error)[:2] == (412, "PreconditionFailedException")
            assert [v.version for v in invoker.retired] == ["$LATEST"], "the update of $LATEST alone"
            provider.delete_alias(CONTEXT, named)
            provider.delete_alias(CONTEXT, named)
            with pytest.raises(AwsError) as error:
                provider.get_alias(CONTEXT, named)
            assert refusal(error) == (404, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}iris:prod")
            with pytest.raises(AwsError) as error:
                provider.resolve("iris:prod")
            assert refusal(error) == (404, "ResourceNotFoundException", f"Function not found: {ARN}iris:prod")

    asyncio.run(scenario())


def test_a_weighted_alias_shares_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            await publish(provider)
            await publish(provider, Timeout=9)
            routing = {"AdditionalVersionWeights": {"2": 0.25}}
            made = provider.create_alias(
                CONTEXT, {**IRIS, "Name": "prod", "FunctionVersion": "1", "RoutingConfig": routing}
            )
            assert made["RoutingConfig"] == routing
            served = Counter(provider.resolve("iris:prod").version for _ in range(4000))
            assert 850 < served["2"] < 1150  # 0.25 of 4000, 5 standard deviations either side
            listed = provider.list_aliases(CONTEXT, {**IRIS, "FunctionVersion": "2"})["Aliases"]
            assert [alias["Name"] for alias in listed] == ["prod"]
            provider.update_alias(CONTEXT, {**IRIS, "Name": "prod", "RoutingConfig": {}})
            assert {provider.resolve("iris:prod").version for _ in range(200)} == {"1"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("version", "weights", "message"),
    [
        ("1", {"2": 0.1, "3": 0.1}, "Number of items in AdditionalVersionWeights cannot be greater than 1"),
        ("1", {"1": 0.1}, "Function version 1 is already included in routing configuration."),
        ("$LATEST", {"1": 0.1}, "$LATEST is not supported for an alias pointing to more than 1 version"),
        ("1", {"9": 0.1}, f"Function not found: {ARN}iris:9"),
        ("1", {"2": 1.0}, "Value '{2=1.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint"),
        ("9", {}, f"Function not found: {ARN}iris:9"),
    ],
)
def test_routes_refused(tmp_path: Path, version: str, weights: dict[str, float], message: str) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            await publish(provider)
            await publish(provider, Timeout=9)
            params = {**IRIS, "Name": "prod", "FunctionVersion": version}
            with pytest.raises(AwsError) as error:
                provider.create_alias(CONTEXT, {**params, "RoutingConfig": {"AdditionalVersionWeights": weights}})
            assert message in error.value.message
            assert provider.list_aliases(CONTEXT, IRIS)["Aliases"] == []
            with pytest.raises(AwsError) as error:
                provider.create_alias(CONTEXT, {"FunctionName": "rose", "Name": "prod", "FunctionVersion": "1"})
            assert error.value.message == f"Function not found: {ARN}rose:1", "as recorded on AWS"

    asyncio.run(scenario())


def test_a_version_is_deleted_unless_an_alias_needs_it(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await publish(provider)
            provider.create_alias(CONTEXT, {**IRIS, "Name": "prod", "FunctionVersion": "1"})
            with pytest.raises(AwsError) as error:
                provider.delete_function(CONTEXT, {**IRIS, "Qualifier": "1"})
            assert refusal(error) == (
                409,
                "ResourceConflictException",
                "Unable to delete version because the following aliases reference it: [prod]",
            )
            provider.delete_alias(CONTEXT, {**IRIS, "Name": "prod"})
            version = provider.resolve("iris:1")
            provider.delete_function(CONTEXT, {**IRIS, "Qualifier": "1"})
            assert invoker.retired == [version]
            with pytest.raises(AwsError, match="Function not found"):
                provider.resolve("iris:1")
            with pytest.raises(AwsError, match="LATEST version cannot be deleted"):
                provider.delete_function(CONTEXT, {**IRIS, "Qualifier": "$LATEST"})
            assert await publish(provider, Timeout=4) == "2", "numbers are never given twice"
            provider.delete_function(CONTEXT, IRIS)
            assert sorted(v.version for v in invoker.retired[-2:]) == ["$LATEST", "2"]

    asyncio.run(scenario())


def test_versions_and_aliases_survive_a_restart_and_keep_their_code(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            await publish(provider)
            provider.create_alias(CONTEXT, {**IRIS, "Name": "prod", "FunctionVersion": "1"})
            code = zipped({"lambda_function.py": b"# two\n"})
            await provider.update_function_code(CONTEXT, {**IRIS, "ZipFile": code})
            await provider.settled()
            before = provider.resolve("iris:prod")
        async with provider_in(tmp_path) as provider:
            await provider.settled()
            after = provider.resolve("iris:prod")
            assert (after.version, after.revision_id) == ("1", before.revision_id)
            assert (Path(after.code_dir) / "lambda_function.py").exists(), "only this version needs it now"

    asyncio.run(scenario())


# SnapStart

SNAP = {"SnapStart": {"ApplyOn": "PublishedVersions"}}


def test_a_snapshot_is_taken_before_a_version_serves(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    gate = asyncio.Event()

    async def wait(version: FunctionVersion) -> None:
        await gate.wait()

    invoker.snapshot = wait

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            made = await created(provider, **SNAP)
            assert made["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
            assert (invoker.prepared, provider.resolve("iris").snap_start) == ([], False)
            version = provider.publish_version(CONTEXT, IRIS)
            assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Pending", "Off")
            with pytest.raises(AwsError) as error:
                provider.resolve("iris:1")
            assert refusal(error) == (
                409,
                "ResourceConflictException",
                "The operation cannot be performed at this time. "
                "The function is currently in the following state: Pending",
            )
            gate.set()
            await provider.settled()
            found = provider.get_function_configuration(CONTEXT, {**IRIS, "Qualifier": "1"})
            assert (found["State"], found["SnapStart"]["OptimizationStatus"]) == ("Active", "On")
            serving = provider.resolve("iris:1")
            assert serving.snap_start
            assert [v.revision_id for v in invoker.prepared] == [serving.revision_id]
        again = FakeInvoker()
        async with provider_in(tmp_path, again) as provider:
            await provider.settled()
            assert [v.revision_id for v in again.prepared] == [serving.revision_id], "a restart loses snapshots"

    asyncio.run(scenario())


def test_a_snapshot_that_fails_fails_the_version_with_its_reason(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def fail(version: FunctionVersion) -> None:
        raise AwsError("FunctionError.InitTimeout", "init took longer than 130 s")

    invoker.snapshot = fail

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider, **SNAP)
            provider.publish_version(CONTEXT, IRIS)
            await provider.settled()
            found = provider.get_function_configuration(CONTEXT, {**IRIS, "Qualifier": "1"})
            assert (found["State"], found["StateReason"]) == ("Failed", "init took longer than 130 s")
            assert found["StateReasonCode"] == "FunctionError.InitTimeout"
            assert provider.resolve("iris").version == "$LATEST"
            with pytest.raises(AwsError, match="following state: Failed"):
                provider.resolve("iris:1")

    asyncio.run(scenario())


def test_deleting_while_the_snapshot_is_taken_ends_it(tmp_path: Path) -> None:
    invoker = FakeInvoker()
    began = asyncio.Event()

    async def forever(version: FunctionVersion) -> None:
        began.set()
        await asyncio.Event().wait()

    invoker.snapshot = forever

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider, **SNAP)
            provider.publish_version(CONTEXT, IRIS)
            await began.wait()
            provider.delete_function(CONTEXT, IRIS)
            await provider.settled()
            for _ in range(5):
                await asyncio.sleep(0)
            assert sorted(v.version for v in invoker.retired) == ["$LATEST", "1"]

    asyncio.run(scenario())


def test_the_first_cuts_database_is_taken_over(tmp_path: Path) -> None:
    import json
    import sqlite3

    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
        with sqlite3.connect(tmp_path / "lambda.db") as db:
            (document,) = db.execute("SELECT document FROM versions").fetchone()
            old = {**json.loads(document), "tags": {"a": "b"}, "reserved_concurrency": 7, "policy": [{"Sid": "s"}]}
            del old["pool_id"]
            for table in ("versions", "attached", "layers", "events", "code_signing"):
                db.execute(f"DROP TABLE {table}")
            db.execute("CREATE TABLE functions (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT")
            db.execute("INSERT INTO functions VALUES ('iris', ?)", (json.dumps(old),))
            db.execute("PRAGMA user_version = 1")
        async with provider_in(tmp_path) as provider:
            assert provider.list_tags(CONTEXT, {"Resource": "iris"}) == {"Tags": {"a": "b"}}
            assert provider.resolve("iris").reserved_concurrency == 7
            assert '"Sid":"s"' in provider.get_policy(CONTEXT, IRIS)["Policy"]
            assert base64.b64decode(provider.get_function_configuration(CONTEXT, IRIS)["CodeSha256"])

    asyncio.run(scenario())
