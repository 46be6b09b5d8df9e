"""Layers and function URLs through the provider."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, SOURCE, FakeInvoker, created, creation, provider_in, zipped

from preheat.kernel.errors import AwsError
from preheat.services.lambda_ import archive, urls

IRIS = {"FunctionName": "iris"}
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:"
CONTENT = {"ZipFile": zipped({"python/shared.py": b"VALUE = 1\n"})}


async def publish(provider: Any, name: str = "tools", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await provider.publish_layer_version(
        CONTEXT, {"LayerName": name, "Content": CONTENT, **more}
    )
    return answer


def test_a_layers_versions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            first = await publish(provider, Description="one", CompatibleRuntimes=["python3.11"])
            assert (first["LayerArn"], first["LayerVersionArn"]) == (f"{LAYER}tools", f"{LAYER}tools:1")
            assert (first["Version"], first["Content"]["CodeSize"]) == (1, len(CONTENT["ZipFile"]))
            second = await publish(provider)
            assert (second["CompatibleRuntimes"], second["CompatibleArchitectures"]) == ([], []), "recorded on AWS"
            shown = provider.get_layer_version(CONTEXT, {"LayerName": "tools", "VersionNumber": 1})
            assert shown == provider.get_layer_version_by_arn(CONTEXT, {"Arn": f"{LAYER}tools:1"}) == first
            versions = provider.list_layer_versions(CONTEXT, {"LayerName": f"{LAYER}tools"})["LayerVersions"]
            assert [version["Version"] for version in versions] == [2, 1]
            (item,) = provider.list_layers(CONTEXT, {"CompatibleRuntime": "python3.11"})["Layers"]
            assert (item["LayerName"], item["LatestMatchingVersion"]["Version"]) == ("tools", 1)
            provider.delete_layer_version(CONTEXT, {"LayerName": "tools", "VersionNumber": 2})
            assert (await publish(provider))["Version"] == 3, "numbers are never given twice"
            for call, params, message in (
                (
                    provider.get_layer_version,
                    {"LayerName": "tools", "VersionNumber": 2},
                    "The resource you requested does not exist.",
                ),
                (
                    provider.get_layer_version,
                    {"LayerName": "tools", "VersionNumber": 0},
                    "Layer Version Cannot be less than 1",
                ),
            ):
                with pytest.raises(AwsError) as error:
                    call(CONTEXT, params)
                assert error.value.message == message

    asyncio.run(scenario())


def test_a_function_keeps_its_layers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            for name in ("tools", "more"):
                await publish(provider, name)
            made = await created(provider, Layers=[f"{LAYER}tools:1", f"{LAYER}more:1"])
            assert [layer["Arn"] for layer in made["Layers"]] == [f"{LAYER}tools:1", f"{LAYER}more:1"]
            version = provider.resolve("iris")
            assert len(version.layer_dirs) == 2
            shared = Path(version.layer_dirs[0]) / "python" / "shared.py"
            assert shared.read_bytes() == b"VALUE = 1\n"
            assert list((shared.parent / "__pycache__").glob("shared.*.pyc")), "compiled as the code is"
            for name in ("tools", "more"):
                provider.delete_layer_version(CONTEXT, {"LayerName": name, "VersionNumber": 1})
            assert await provider.collect() == []
            await provider.update_function_configuration(CONTEXT, {**IRIS, "Layers": []})
            await provider.settled()
            assert provider.resolve("iris").layer_dirs == ()
            assert len(await provider.collect()) == 1
            assert not shared.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([f"{LAYER}l{number}:1" for number in range(6)], "Cannot reference more than 5 layers."),
        ([f"{LAYER}nope:1"], f"Layer version {LAYER}nope:1 does not exist."),
        (
            [f"{LAYER}tools:1", f"{LAYER}tools:2"],
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{LAYER}tools:1 and {LAYER}tools:2 are versions of the same layer.",
        ),
        (
            [f"{LAYER}tools:1".replace("us-east-1", "eu-west-1")],
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
    ],
)
def test_layers_refused(tmp_path: Path, layers: list[str], message: str) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await publish(provider)
            await publish(provider)
            with pytest.raises(AwsError) as error:
                await provider.create_function(CONTEXT, creation(Layers=layers))
            assert error.value.message == message
            assert provider.list_functions(CONTEXT, {})["Functions"] == []

    asyncio.run(scenario())


def test_code_and_layers_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await publish(provider)
            await created(provider)
            monkeypatch.setattr(archive, "MAX_UNZIPPED_BYTES", len(SOURCE) + 9)
            with pytest.raises(AwsError) as error:
                await provider.update_function_configuration(CONTEXT, {**IRIS, "Layers": [f"{LAYER}tools:1"]})
            assert error.value.message == (
                "Function code combined with layers exceeds the maximum allowed size of "
                f"{len(SOURCE) + 9} bytes. The actual size is {len(SOURCE) + 10} bytes."
            )
            monkeypatch.setattr(archive, "MAX_UNZIPPED_BYTES", len(SOURCE) + 10)
            await provider.update_function_configuration(CONTEXT, {**IRIS, "Layers": [f"{LAYER}tools:1"]})

    asyncio.run(scenario())


def test_a_layers_policy(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await publish(provider)
            named = {"LayerName": "tools", "VersionNumber": 1}
            permission = {**named, "StatementId": "all", "Action": "lambda:GetLayerVersion", "Principal": "*"}
            added = provider.add_layer_version_permission(CONTEXT, permission)
            policy = provider.get_layer_version_policy(CONTEXT, named)
            assert json.loads(policy["Policy"])["Statement"] == [json.loads(added["Statement"])]
            assert policy["RevisionId"] == added["RevisionId"]
            provider.remove_layer_version_permission(CONTEXT, {**named, "StatementId": "all"})
            with pytest.raises(AwsError, match=r"Layer version .*:layer:tools:9 does not exist"):
                provider.get_layer_version_policy(CONTEXT, {**named, "VersionNumber": 9})

    asyncio.run(scenario())


# function URLs


@pytest.fixture
def names_below_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "names_resolve", lambda: True)


@pytest.mark.usefixtures("names_below_localhost")
def test_a_function_url_from_creation_to_deletion(tmp_path: Path) -> None:
    invoker = FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker) as provider:
            await created(provider)
            cors = {"AllowOrigins": ["*"], "MaxAge": 5}
            made = await provider.create_function_url_config(CONTEXT, {**IRIS, "AuthType": "NONE", "Cors": cors})
            url_id = made["FunctionUrl"].removeprefix("http://").partition(".")[0]
            assert len(url_id) == 32
            assert made["FunctionUrl"] == f"http://{url_id}.lambda-url.us-east-1.localhost:4599/"
            assert (made["FunctionArn"], made["InvokeMode"]) == (f"{ARN}iris", None), "shown where given"
            assert (await provider.get_function_url_config(CONTEXT, IRIS))["InvokeMode"] == "BUFFERED"
            version, url = provider.lookup_url(url_id)
            assert version is provider.resolve("iris")
            assert (url.function_arn, url.auth_type, url.cors) == (f"{ARN}iris", "NONE", cors)
            await provider.update_function_url_config(CONTEXT, {**IRIS, "InvokeMode": "RESPONSE_STREAM"})
            assert provider.lookup_url(url_id)[1].invoke_mode == "RESPONSE_STREAM"
            assert (await provider.get_function_url_config(CONTEXT, IRIS))["Cors"] == cors
            with pytest.raises(AwsError) as error:
                await provider.create_function_url_config(CONTEXT, {**IRIS, "AuthType": "NONE"})
            assert error.value.message == (
                f"Failed to create function url config for [functionArn = {ARN}iris]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
            assert provider.lookup_url("0" * 32) is None
        async with provider_in(tmp_path, invoker) as provider:
            assert provider.lookup_url(url_id)[1].auth_type == "NONE"
            provider.delete_function_url_config(CONTEXT, IRIS)
            assert provider.lookup_url(url_id) is None
            with pytest.raises(AwsError, match="The resource you requested does not exist"):
                await provider.get_function_url_config(CONTEXT, IRIS)

    asyncio.run(scenario())


def test_a_function_url_is_a_path_where_names_below_localhost_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "names_resolve", lambda: False)

    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            made = await provider.create_function_url_config(CONTEXT, {**IRIS, "AuthType": "NONE"})
            start, _, url_id = made["FunctionUrl"].rstrip("/").rpartition("/")
            assert start == "http://localhost:4599/_aws/lambda-url"
            assert provider.lookup_url(url_id) is not None

    asyncio.run(scenario())


@pytest.mark.usefixtures("names_below_localhost")
def test_an_aliases_url_follows_the_alias(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path) as provider:
            await created(provider)
            provider.publish_version(CONTEXT, IRIS)
            named = {**IRIS, "Qualifier": "prod", "AuthType": "AWS_IAM"}
            with pytest.raises(AwsError, match="Function does not exist"):
                await provider.create_function_url_config(CONTEXT, named)
            with pytest.raises(AwsError, match="Value '1' at 'qualifier' failed to satisfy constraint"):
                await provider.create_function_url_config(CONTEXT, {**named, "Qualifier": "1"})
            provider.create_alias(CONTEXT, {**IRIS, "Name": "prod", "FunctionVersion": "1"})
            made = await provider.create_function_url_config(CONTEXT, named)
            url_id = made["FunctionUrl"].removeprefix("http://").partition(".")[0]
            version, url = provider.lookup_url(url_id)
            assert (version.version, url.function_arn) == ("1", f"{ARN}iris:prod")
            configs = (await provider.list_function_url_configs(CONTEXT, IRIS))["FunctionUrlConfigs"]
            assert [config["FunctionArn"] for config in configs] == [f"{ARN}iris:prod"]
            provider.delete_alias(CONTEXT, {**IRIS, "Name": "prod"})
            assert provider.lookup_url(url_id) is None

    asyncio.run(scenario())
