"""Limits of a function's configuration, each at its edge, and AWS's words beyond it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.errors import AwsError
from preheat.services.lambda_ import validation


@pytest.mark.parametrize(
    ("params", "field", "value"),
    [
        ({"MemorySize": 128}, "memory_mb", 128),
        ({"MemorySize": 10_240}, "memory_mb", 10_240),
        ({"Timeout": 1}, "timeout_s", 1),
        ({"Timeout": 900}, "timeout_s", 900),
        ({"EphemeralStorage": {"Size": 10_240}}, "ephemeral_storage_mb", 10_240),
        ({"Runtime": "python3.13"}, "runtime", "python3.13"),
        ({"Architectures": ["arm64"]}, "architectures", ["arm64"]),
        ({"Environment": {"Variables": {"KEY": "value"}}}, "environment", {"KEY": "value"}),
        ({"Environment": {}}, "environment", {}),
        ({"LoggingConfig": {"LogGroup": "mine"}}, "logging", {"LogFormat": "Text", "LogGroup": "mine"}),
        (
            {"LoggingConfig": {"LogFormat": "JSON"}},
            "logging",
            {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"},
        ),
    ],
)
def test_what_is_within_the_limits_becomes_a_field(params: dict[str, Any], field: str, value: object) -> None:
    assert validation.fields(params) == {field: value}


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        (
            {"MemorySize": 127},
            "ValidationException",
            "1 validation error detected: Value '127' at 'memorySize' failed to satisfy constraint: "
            "Member must have value greater than or equal to 128",
        ),
        (
            {"MemorySize": 10_241},
            "ValidationException",
            "1 validation error detected: Value '10241' at 'memorySize' failed to satisfy constraint: "
            "Member must have value less than or equal to 10240",
        ),
        (
            {"Timeout": 901},
            "ValidationException",
            "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
            "Member must have value less than or equal to 900",
        ),
        (
            {"Role": "LabRole"},
            "ValidationException",
            "1 validation error detected: Value 'LabRole' at 'role' failed to satisfy constraint: Member must satisfy "
            r"regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        (
            {"Runtime": "python3.7"},
            "InvalidParameterValueException",
            "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions.",
        ),
        (
            {"Runtime": "python2"},
            "InvalidParameterValueException",
            "Value python2 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            "[nodejs20.x, provided.al2023, python3.12, python3.13, nodejs22.x, java17, nodejs16.x, dotnet8, "
            "python3.10, java11, python3.11, dotnet6, java21, nodejs18.x, provided.al2, ruby3.3, java8.al2, ruby3.2, "
            "python3.8, python3.9] or be a valid ARN",
        ),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x", "OK": "y"}}},
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            "this request: AWS_REGION",
        ),
        (
            {"Environment": {"Variables": {"1a": "x"}}},
            "ValidationException",
            "1 validation error detected: Value '{1a=x}' at 'environment.variables' failed to satisfy constraint: Map "
            "keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
        ),
    ],
)
def test_what_is_beyond_is_refused_in_the_words_of_aws(params: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(AwsError) as refusal:
        validation.fields(params)
    assert (refusal.value.code, refusal.value.message, refusal.value.status) == (code, message, 400)


def test_the_environment_may_be_4096_bytes_of_json_and_not_one_more() -> None:
    fits = "x" * (4096 - len('{"KEY":""}'))
    assert validation.fields({"Environment": {"Variables": {"KEY": fits}}})["environment"] == {"KEY": fits}
    with pytest.raises(AwsError) as refusal:
        validation.fields({"Environment": {"Variables": {"KEY": fits + "x"}}})
    assert refusal.value.message == (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        f'exceeded the 4KB limit. String measured: {{"KEY":"{fits}x"}}'
    )


@pytest.mark.parametrize("package", [0, 52_428_800])
def test_a_request_to_create_may_have_70167211_bytes_and_not_one_more(package: int) -> None:
    code = {"ZipFile": bytes(package)}
    validation.check_request_size(bytes(70_167_211), code)
    with pytest.raises(AwsError) as refusal:
        validation.check_request_size(bytes(70_167_212), code)
    assert (refusal.value.status, refusal.value.code) == (413, "RequestEntityTooLargeException")
    assert refusal.value.message == "Request must be smaller than 70167211 bytes for the CreateFunction operation"


def test_a_package_too_large_is_told_before_the_request_is() -> None:
    validation.check_request_size(bytes(70_167_212), {"ZipFile": bytes(52_428_801)})


@given(st.integers())
def test_memory_is_taken_exactly_between_its_limits(memory_mb: int) -> None:
    try:
        taken = validation.fields({"MemorySize": memory_mb}) == {"memory_mb": memory_mb}
    except AwsError:
        taken = False
    assert taken == (128 <= memory_mb <= 10_240)


@pytest.mark.parametrize(
    "params",
    [
        {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
        {"FileSystemConfigs": [{"Arn": "arn"}]},
    ],
)
def test_what_is_not_built_says_so_and_is_never_ignored(params: dict[str, Any]) -> None:
    with pytest.raises(AwsError, match="is not built in preheat yet") as refusal:
        validation.check_built(params)
    assert refusal.value.status == 501


def test_empty_settings_of_what_is_not_built_are_harmless() -> None:
    validation.check_built({"Layers": [], "Publish": False, "VpcConfig": {"SubnetIds": []}, "PackageType": "Zip"})
