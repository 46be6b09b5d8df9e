"""Functions of container images: resolved, pinned, unpacked, shown as AWS shows them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lambda_harness import ARN, CONTEXT, ROLE, FakeInvoker, created, provider_in

from preheat.kernel.errors import AwsError, PreheatError
from preheat.kernel.image import ImageMissing, ImageUnsupported, ResolvedImage
from preheat.services.lambda_.images import NoImages

HOST = "000000000000.dkr.ecr.us-east-1.localhost:4566"
IRIS = {"FunctionName": "iris"}


class FakeImages:
    """Tags and what they mean; directories that are named after layers."""

    def __init__(self, directory: Path) -> None:
        self.tags = {"iris:1": "a" * 64, "iris:2": "b" * 64}
        self.pins: dict[str, str] = {}
        self.unpacked: list[str] = []
        self.problem: Exception | None = None
        self._directory = directory

    def resolve(self, image_uri: str) -> ResolvedImage:
        name = image_uri.partition("/")[2]
        if name == "iris:index":
            raise ImageUnsupported("it is an image index: build it with docker build --provenance=false")
        if name not in self.tags:
            raise ImageMissing(image_uri)
        return ResolvedImage(
            uri=f"{HOST}/iris@sha256:{self.tags[name]}",
            digest=f"sha256:{self.tags[name]}",
            architecture="x86_64",
            config={
                "Entrypoint": ["/lambda-entrypoint.sh"],
                "Cmd": ["app.handler"],
                "WorkingDir": "/var/task",
                "Env": ["PATH=/bin", "EMPTY="],
            },
            layers=("sha256:1", "sha256:2"),
            size_bytes=1000,
        )

    def pin(self, holder: str, digest: str) -> None:
        self.pins[holder] = digest

    def unpin(self, holder: str) -> None:
        self.pins.pop(holder, None)

    def pinned(self) -> list[str]:
        return list(self.pins.values())

    def layer_files(self, image: ResolvedImage) -> tuple[Path, ...]:
        raise NotImplementedError

    def layer_directories(self, image: ResolvedImage) -> tuple[Path, ...]:
        if self.problem is not None:
            raise self.problem
        self.unpacked.append(image.digest)
        return tuple(self._directory / layer for layer in image.layers)

    def flat_directory(self, image: ResolvedImage) -> Path:
        raise NotImplementedError


def creation(tag: str = "iris:1", **more: Any) -> dict[str, Any]:
    return {**IRIS, "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": f"{HOST}/{tag}"}, **more}


def test_an_image_function_from_creation_to_deletion(tmp_path: Path) -> None:
    images, invoker = FakeImages(tmp_path), FakeInvoker()

    async def scenario() -> None:
        async with provider_in(tmp_path, invoker, images) as provider:
            config = {"Command": ["other.handler"]}
            made = await provider.create_function(CONTEXT, creation(ImageConfig=config))
            assert (made["State"], made["StateReasonCode"], made["PackageType"]) == ("Pending", "Creating", "Image")
            assert not made.keys() & {"Runtime", "Handler", "RuntimeVersionConfig", "Layers"}
            assert (made["CodeSha256"], made["CodeSize"]) == ("a" * 64, 0)
            assert made["ImageConfigResponse"] == {"ImageConfig": config}
            await provider.settled()
            found = provider.get_function(CONTEXT, IRIS)
            assert found["Configuration"]["State"] == "Active"
            assert found["Code"] == {
                "RepositoryType": "ECR",
                "ImageUri": f"{HOST}/iris:1",
                "ResolvedImageUri": f"{HOST}/iris@sha256:{'a' * 64}",
            }
            first = provider.resolve("iris")
            assert (first.runtime, first.code_dir) == ("", "")
            assert first.image.command == ("/lambda-entrypoint.sh", "other.handler")
            assert first.image.layers == (str(tmp_path / "sha256:1"), str(tmp_path / "sha256:2"))
            assert (first.image.working_dir, first.image.environ) == ("/var/task", {"PATH": "/bin", "EMPTY": ""})
            assert images.pins == {first.revision_id: "sha256:" + "a" * 64}

            provider.publish_version(CONTEXT, IRIS)
            updated = await provider.update_function_code(CONTEXT, {**IRIS, "ImageUri": f"{HOST}/iris:2"})
            assert (updated["LastUpdateStatus"], updated["CodeSha256"]) == ("InProgress", "b" * 64)
            assert provider.resolve("iris") is first
            await provider.settled()
            assert sorted(images.pins.values()) == ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
            assert images.pins[provider.resolve("iris:1").revision_id] == "sha256:" + "a" * 64
        again = FakeInvoker()
        async with provider_in(tmp_path, again, images) as provider:
            assert provider.resolve("iris:1").image.command == ("/lambda-entrypoint.sh", "other.handler")
            provider.delete_function(CONTEXT, IRIS)
            assert images.pins == {}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            creation("rose:1"),
            f"Source image {HOST}/rose:1 does not exist. Provide a valid source image.",
        ),
        (
            creation("iris:index"),
            f"The image manifest, config or layer media type for the source image {HOST}/iris:index is not supported. "
            "(it is an image index: build it with docker build --provenance=false)",
        ),
        (
            creation(Runtime="python3.11"),
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        ),
        (
            creation(Code={"ZipFile": b"PK"}),
            "Please provide ImageUri when creating a function with packageType Image.",
        ),
    ],
)
def test_creations_refused(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    images = FakeImages(tmp_path)

    async def scenario() -> None:
        async with provider_in(tmp_path, None, images) as provider:
            with pytest.raises(AwsError) as error:
                await provider.create_function(CONTEXT, params)
            assert (error.value.code, error.value.message) == ("InvalidParameterValueException", message)
            assert images.pins == {}
            assert provider.list_functions(CONTEXT, {})["Functions"] == []

    asyncio.run(scenario())


def test_the_package_type_stays_what_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path, None, FakeImages(tmp_path)) as provider:
            await provider.create_function(CONTEXT, creation())
            await created(provider, "zipped")
            await provider.settled()
            for params, message in (
                ({**IRIS, "ZipFile": b"PK"}, "Please provide ImageUri when updating a function with packageType Image"),
                (
                    {"FunctionName": "zipped", "ImageUri": f"{HOST}/iris:1"},
                    "Please don't provide ImageUri when updating a function with packageType Zip",
                ),
            ):
                with pytest.raises(AwsError, match=message):
                    await provider.update_function_code(CONTEXT, params)
            with pytest.raises(AwsError, match="for a function with packageType Image"):
                await provider.update_function_configuration(CONTEXT, {**IRIS, "Handler": "a.b"})

    asyncio.run(scenario())


def test_an_image_that_cannot_be_unpacked_fails_the_function_and_an_update_leaves_the_old_one(tmp_path: Path) -> None:
    images = FakeImages(tmp_path)

    async def scenario() -> None:
        async with provider_in(tmp_path, None, images) as provider:
            await provider.create_function(CONTEXT, creation())
            await provider.settled()
            images.problem = PreheatError("the disk is full")
            await provider.update_function_code(CONTEXT, {**IRIS, "ImageUri": f"{HOST}/iris:2"})
            await provider.settled()
            found = provider.get_function_configuration(CONTEXT, IRIS)
            assert (found["LastUpdateStatus"], found["LastUpdateStatusReason"]) == ("Failed", "the disk is full")
            assert (found["CodeSha256"], found["State"]) == ("a" * 64, "Active")
            assert list(images.pins.values()) == ["sha256:" + "a" * 64]
            assert provider.resolve("iris").image is not None
            await provider.create_function(CONTEXT, {**creation(), "FunctionName": "rose"})
            await provider.settled()
            rose = provider.get_function_configuration(CONTEXT, {"FunctionName": "rose"})
            assert (rose["State"], rose["StateReason"]) == ("Failed", "the disk is full")
            assert rose["StateReasonCode"] == "InvalidImage"
            assert rose["FunctionArn"] == f"{ARN}rose"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"Architectures": ["arm64"]}, "InvalidParameterValueException", "the function's Architectures say arm64"),
    ],
)
def test_what_an_image_function_cannot_have_yet(
    tmp_path: Path, options: dict[str, Any], code: str, message: str
) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path, None, FakeImages(tmp_path)) as provider:
            with pytest.raises(AwsError, match=message) as refused:
                await provider.create_function(CONTEXT, creation(**options))
            assert refused.value.code == code

    asyncio.run(scenario())


def test_a_machine_without_containers_refuses_saying_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provider_in(tmp_path, None, NoImages("runc is not installed")) as provider:
            with pytest.raises(AwsError, match="cannot run on this machine: runc is not installed"):
                await provider.create_function(CONTEXT, creation())

    asyncio.run(scenario())


def test_what_another_start_could_not_run_is_tried_again(tmp_path: Path) -> None:
    """An engine that is down, an interpreter that is not installed: the function waits for better days."""
    images = FakeImages(tmp_path)

    async def scenario() -> None:
        async with provider_in(tmp_path, FakeInvoker(), images) as provider:
            await provider.create_function(CONTEXT, creation())
            await provider.settled()
        images.problem = PreheatError("no Docker engine answers")
        async with provider_in(tmp_path, FakeInvoker(), images) as provider:
            shown = provider.get_function_configuration(CONTEXT, IRIS)
            assert (shown["State"], shown["StateReason"]) == ("Failed", "no Docker engine answers")
        images.problem = None
        async with provider_in(tmp_path, FakeInvoker(), images) as provider:
            assert provider.get_function_configuration(CONTEXT, IRIS)["State"] == "Active"
            assert provider.resolve("iris").image.command == ("/lambda-entrypoint.sh", "app.handler")

    asyncio.run(scenario())


def test_an_image_of_very_many_layers_is_unpacked_into_one_directory(tmp_path: Path) -> None:
    class Layered(FakeImages):
        def resolve(self, image_uri: str) -> ResolvedImage:
            return replace(super().resolve(image_uri), layers=tuple(f"sha256:{n}" for n in range(60)))

        def flat_directory(self, image: ResolvedImage) -> Path:
            return tmp_path / "flat"

    async def scenario() -> None:
        async with provider_in(tmp_path, None, Layered(tmp_path)) as provider:
            await provider.create_function(CONTEXT, creation())
            await provider.settled()
            assert provider.resolve("iris").image.layers == (str(tmp_path / "flat"),)

    asyncio.run(scenario())
