"""A function's life through the provider: created, found, listed, updated, deleted, and there after a restart."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, ROLE, SOURCE, FakeInvoker, created, creation, provider_in, zipped

from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest
from preheat.kernel.runtimes import runtime_version


def refusal(error: pytest.ExceptionInfo[AwsError]) -> tuple[int, str, str]:
    return error.value.status, error.value.code, error.value.message


def test_a_new_function_is_pending_then_active(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            answer = await provider.create_function(CONTEXT, creation(Description="flowers"))
            data = zipped()
            modified = answer.pop("LastModified")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", modified)
            made = answer.pop("RevisionId")
            assert len(made) == 36
            assert answer == {
                "FunctionName": "iris",
                "FunctionArn": f"{ARN}iris",
                "Runtime": "python3.11",
                "Role": ROLE,
                "Handler": "lambda_function.lambda_handler",
                "CodeSize": len(data),
                "Description": "flowers",
                "Timeout": 3,
                "MemorySize": 128,
                "CodeSha256": b64encode(hashlib.sha256(data).digest()).decode(),
                "Version": "$LATEST",
                "TracingConfig": {"Mode": "PassThrough"},
                "State": "Pending",
                "StateReason": "The function is being created.",
                "StateReasonCode": "Creating",
                "PackageType": "Zip",
                "Architectures": ["x86_64"],
                "EphemeralStorage": {"Size": 512},
                "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
                "RuntimeVersionConfig": {"RuntimeVersionArn": runtime_version("python3.11", "us-east-1")[1]},
                "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/iris"},
            }
            await provider.settled()
            now = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})
            assert (now["State"], now["LastUpdateStatus"]) == ("Active", "Successful")
            assert "StateReason" not in now
            version = provider.resolve("iris")
            assert now["RevisionId"] != made, "becoming Active is a revision (recorded on AWS)"
            assert (Path(version.code_dir) / "lambda_function.py").read_bytes() == SOURCE
            assert list((Path(version.code_dir) / "__pycache__").glob("lambda_function.*.pyc"))

    asyncio.run(scenario())


def test_a_directory_is_a_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "lambda_function.py").write_bytes(SOURCE)

    async def scenario() -> None:
        async with provider_in(tmp_path / "data") as provider:
            code = {"S3Bucket": "hot-reload", "S3Key": str(source)}
            first = await created(provider, Code=code)
            assert first["CodeSize"] == len(SOURCE)
            (source / "lambda_function.py").write_bytes(SOURCE + b"# changed\n")
            running = Path(provider.resolve("iris").code_dir) / "lambda_function.py"
            assert running.read_bytes() == SOURCE, "a copy, not a mount"
            await provider.update_function_code(CONTEXT, {"FunctionName": "iris", **code})
            await provider.settled()
            second = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})
            assert second["CodeSha256"] != first["CodeSha256"]
            assert (Path(provider.resolve("iris").code_dir) / "lambda_function.py").read_bytes() != SOURCE

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"Code": {"S3Bucket": "models", "S3Key": "iris.zip"}},
            (400, "InvalidParameterValueException", "bucket 'models' does not exist"),
        ),
        ({"Code": {}}, (400, "InvalidParameterValueException", "Please provide a source for function code.")),
        ({"Handler": None}, (400, "InvalidParameterValueException", "Runtime and Handler are mandatory parameters")),
        (
            {"PackageType": "Image", "Runtime": None, "Handler": None, "Code": {"ImageUri": "host/iris:1"}},
            (501, "NotImplementedException", "PackageType Image is not built"),
        ),
        ({"Runtime": "python3.8"}, (400, "InvalidParameterValueException", "no interpreter for runtime python3.8")),
        (
            {"FunctionName": "x" * 65},
            (400, "InvalidParameterValueException", "Member must have length less than or equal to 64"),
        ),
        ({"Code": {"ZipFile": b"PK"}}, (400, "InvalidParameterValueException", "Could not unzip uploaded file.")),
    ],
)
def test_a_refused_creation_leaves_nothing_behind(
    tmp_path: Path, params: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            with pytest.raises(AwsError) as error:
                await provider.create_function(CONTEXT, {**creation(), **params})
            status, code, message = refusal(error)
            assert (status, code) == expected[:2]
            assert expected[2] in message
            assert provider.list_functions(CONTEXT, {})["Functions"] == []
            assert list((tmp_path / "code").iterdir()) == []
            await created(provider)  # and the name is free

    asyncio.run(scenario())


def test_of_fifty_who_create_one_name_one_gets_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            calls = [provider.create_function(CONTEXT, creation()) for _ in range(50)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            refused = [result for result in results if isinstance(result, AwsError)]
            assert len(refused) == 49
            assert {(error.status, error.code, error.message) for error in refused} == {
                (409, "ResourceConflictException", "Function already exist: iris")
            }
            await provider.settled()
            assert len(list((tmp_path / "code").glob("*.zip"))) == 1

    asyncio.run(scenario())


def test_functions_are_found_by_name_and_every_kind_of_arn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider, Tags={"team": "flowers"})
            for identifier in ("iris", "function:iris", "000000000000:function:iris", f"{ARN}iris"):
                found = provider.get_function(CONTEXT, {"FunctionName": identifier})
                assert found["Configuration"]["FunctionArn"] == f"{ARN}iris"
                assert provider.resolve(identifier).name == "iris"
            for params in ({"FunctionName": "iris", "Qualifier": "$LATEST"}, {"FunctionName": f"{ARN}iris:$LATEST"}):
                found = provider.get_function(CONTEXT, params)
                assert found["Configuration"]["FunctionArn"] == f"{ARN}iris:$LATEST"
            assert found["Tags"] == {"team": "flowers"}
            assert found["Code"]["RepositoryType"] == "S3"

    asyncio.run(scenario())


def test_what_is_missing_is_named_as_aws_names_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            for call, params, arn in (
                (provider.get_function, {"FunctionName": "rose"}, f"{ARN}rose"),
                (provider.get_function, {"FunctionName": "iris", "Qualifier": "7"}, f"{ARN}iris:7"),
                (provider.delete_function, {"FunctionName": "rose"}, f"{ARN}rose"),
                (provider.list_tags, {"Resource": f"{ARN}rose"}, f"{ARN}rose"),
            ):
                with pytest.raises(AwsError) as error:
                    call(CONTEXT, params)
                assert refusal(error) == (404, "ResourceNotFoundException", f"Function not found: {arn}")
            with pytest.raises(AwsError, match=re.escape(f"Function not found: {ARN}rose:$LATEST")):
                provider.resolve("rose")
            with pytest.raises(AwsError, match="Functions from 'eu-west-1' are not reachable in this region"):
                provider.get_function(CONTEXT, {"FunctionName": f"{ARN}iris".replace("us-east-1", "eu-west-1")})
            with pytest.raises(AwsError, match="derived qualifier"):
                provider.get_function(CONTEXT, {"FunctionName": "iris:3", "Qualifier": "4"})

    asyncio.run(scenario())


def test_pages_of_functions_cover_all_of_them_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            names = [f"f{number:02d}" for number in range(7)]
            for name in reversed(names):
                await provider.create_function(CONTEXT, creation(name))
            seen: list[str] = []
            params: dict[str, Any] = {"MaxItems": 3}
            while True:
                page = provider.list_functions(CONTEXT, params)
                assert all("State" not in item for item in page["Functions"])
                seen += [item["FunctionName"] for item in page["Functions"]]
                if "NextMarker" not in page:
                    break
                params["Marker"] = page["NextMarker"]
            assert seen == names

    asyncio.run(scenario())


def test_the_old_revision_serves_until_the_new_one_is_ready_and_then_retires(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            old = provider.resolve("iris")
            code = zipped({"lambda_function.py": SOURCE + b"# two\n"})
            answer = await provider.update_function_code(CONTEXT, {"FunctionName": "iris", "ZipFile": code})
            assert answer["LastUpdateStatus"] == "InProgress"
            assert answer["LastUpdateStatusReasonCode"] == "Creating"
            assert provider.resolve("iris") is old
            for call, params in (
                (provider.update_function_code, {"FunctionName": "iris", "ZipFile": code}),
                (provider.update_function_configuration, {"FunctionName": "iris", "Timeout": 5}),
            ):
                with pytest.raises(AwsError) as error:
                    await call(CONTEXT, params)
                assert refusal(error) == (
                    409,
                    "ResourceConflictException",
                    f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}iris",
                )
            assert invoker.retired == []
            await provider.settled()
            new = provider.resolve("iris")
            assert (new.revision_id, new.code_dir) != (old.revision_id, old.code_dir)
            assert invoker.retired == [old]

    asyncio.run(scenario())


def test_configuration_changes_only_what_was_given(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            before = await created(provider, Environment={"Variables": {"AA": "1"}})
            params = {"FunctionName": "iris", "Timeout": 30, "MemorySize": 512, "RevisionId": before["RevisionId"]}
            await provider.update_function_configuration(CONTEXT, params)
            await provider.settled()
            after = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})
            changed = {member for member in before if before[member] != after[member]}
            assert changed == {"Timeout", "MemorySize", "RevisionId", "LastModified"}
            version = provider.resolve("iris")
            assert (version.timeout_s, version.memory_mb, version.environment) == (30, 512, {"AA": "1"})
            assert len(invoker.retired) == 1
            with pytest.raises(AwsError) as error:
                await provider.update_function_configuration(CONTEXT, params)
            assert refusal(error)[:2] == (412, "PreconditionFailedException")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"LogFormat": "JSON"}, {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}),
        (
            {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
            {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "INFO"},
        ),
        ({"LogGroup": "cool_lambda"}, {"LogFormat": "Text", "LogGroup": "cool_lambda"}),
    ],
)
def test_a_logging_update_keeps_what_it_does_not_name(
    tmp_path: Path, given: dict[str, str], shown: dict[str, str]
) -> None:
    """Recorded on AWS, but for the way back to Text."""

    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            await provider.update_function_configuration(CONTEXT, {"FunctionName": "iris", "LoggingConfig": given})
            await provider.settled()
            found = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})["LoggingConfig"]
            assert found == {"LogGroup": "/aws/lambda/iris", **shown}
            back = {"FunctionName": "iris", "LoggingConfig": {"LogFormat": "Text"}}
            await provider.update_function_configuration(CONTEXT, back)
            await provider.settled()
            found = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})["LoggingConfig"]
            assert found == {"LogFormat": "Text", "LogGroup": shown.get("LogGroup", "/aws/lambda/iris")}

    asyncio.run(scenario())


def test_a_dry_run_checks_the_code_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            before = await created(provider)
            code = zipped({"lambda_function.py": b"# other\n"})
            params = {"FunctionName": "iris", "ZipFile": code, "DryRun": True}
            assert (await provider.update_function_code(CONTEXT, params))["CodeSha256"] != before["CodeSha256"]
            assert provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"}) == before

    asyncio.run(scenario())


def test_a_deleted_function_is_gone_and_its_code_follows_when_nothing_uses_it(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            await created(provider, "rose")
            version = provider.resolve("iris")
            assert provider.delete_function(CONTEXT, {"FunctionName": "iris"}) == {"StatusCode": 204}
            assert invoker.retired == [version]
            with pytest.raises(AwsError, match="Function not found"):
                provider.resolve("iris")
            assert await provider.collect() == [], "rose has the same code"
            provider.delete_function(CONTEXT, {"FunctionName": "rose"})
            assert await provider.collect([version.code_dir]) == [], "an environment still runs it"
            assert await provider.collect() == [Path(version.code_dir).name]
            assert list((tmp_path / "code").iterdir()) == []

    asyncio.run(scenario())


def test_deleting_while_pending_leaves_no_function(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await provider.create_function(CONTEXT, creation())
            provider.delete_function(CONTEXT, {"FunctionName": "iris"})
            await provider.settled()
            assert provider.list_functions(CONTEXT, {})["Functions"] == []
            await created(provider)
            assert provider.resolve("iris").name == "iris"

    asyncio.run(scenario())


def test_functions_are_there_after_a_restart_and_the_unfinished_is_finished(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            first = await created(provider, Tags={"a": "b"})
            await provider.create_function(CONTEXT, creation("rose"))
            await provider.update_function_configuration(CONTEXT, {"FunctionName": "iris", "Timeout": 9})
        (tmp_path / "code" / ".tmp-half").mkdir()  # as kill -9 in the middle of unpacking leaves it
        invoker = FakeInvoker()
        async with provider_in(tmp_path, invoker) as provider:
            await provider.settled()
            again = provider.get_function(CONTEXT, {"FunctionName": "iris"})
            assert again["Configuration"]["LastUpdateStatus"] == "Successful"
            assert again["Configuration"]["Timeout"] == 9
            assert again["Configuration"]["CodeSha256"] == first["CodeSha256"]
            assert again["Tags"] == {"a": "b"}
            assert provider.get_function_configuration(CONTEXT, {"FunctionName": "rose"})["State"] == "Active"
            assert provider.resolve("rose").timeout_s == 3
            assert invoker.retired == [], "the revision that serves since the start is the updated one"
            assert not (tmp_path / "code" / ".tmp-half").exists()

    asyncio.run(scenario())


def test_a_function_whose_runtime_went_away_fails_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await provider.create_function(CONTEXT, creation(Runtime="python3.11"))
        database = tmp_path / "lambda.db"
        with sqlite3.connect(database) as db:
            db.execute("UPDATE versions SET document = replace(document, 'python3.11', 'python3.8')")
        async with provider_in(tmp_path) as provider:
            await provider.settled()
            found = provider.get_function_configuration(CONTEXT, {"FunctionName": "iris"})
            assert (found["State"], found["StateReasonCode"]) == ("Failed", "InvalidConfiguration")
            assert "no interpreter for runtime python3.8" in found["StateReason"]
            with pytest.raises(AwsError, match="currently in the following state: Failed"):
                provider.resolve("iris")

    asyncio.run(scenario())


def test_code_location_gives_the_very_zip_and_for_a_directory_a_zip_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "lambda_function.py").write_bytes(SOURCE)

    async def scenario() -> None:
        async with provider_in(tmp_path / "data") as provider:
            await created(provider)
            await created(provider, "rose", Code={"S3Bucket": "hot-reload", "S3Key": str(source)})
            bodies = {}
            for name in ("iris", "rose"):
                location = provider.get_function(CONTEXT, {"FunctionName": name})["Code"]["Location"]
                host, path = re.fullmatch(r"http://([^/]+)(/.*)", location).groups()  # type: ignore[union-attr]
                assert host == "localhost:4599"
                answer = await provider.download_code(HttpRequest("GET", path))
                assert answer.status == 200
                bodies[name] = answer.body
            assert bodies["iris"] == zipped()
            code = {"FunctionName": "iris", "ZipFile": bodies["rose"]}
            await provider.update_function_code(CONTEXT, code)
            await provider.settled()
            assert (Path(provider.resolve("iris").code_dir) / "lambda_function.py").read_bytes() == SOURCE
            for path in ("/_preheat/code/../../lambda.db", f"/_preheat/code/{'0' * 64}.zip"):
                assert (await provider.download_code(HttpRequest("GET", path))).status == 404

    asyncio.run(scenario())
