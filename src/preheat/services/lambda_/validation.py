"""What CreateFunction and UpdateFunctionConfiguration accept, in AWS's limits and words. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from preheat.kernel.runtimes import is_custom
from preheat.services.lambda_.archive import MAX_ZIPPED_BYTES
from preheat.services.lambda_.failures import constraint, invalid, not_built, revision_mismatch, too_large
from preheat.services.lambda_.runtimes import checked_runtime

MAX_TAGS = 50
_ROLE = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
_VARIABLE = r"[a-zA-Z]([a-zA-Z0-9_])+"
_MAX_ENVIRONMENT_BYTES = 4096
_MAX_REQUEST_BYTES = 70_167_211
_RESERVED_VARIABLES = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    ]
)
"""Lambda developer guide, "Defined runtime environment variables"."""

_UNBUILT = {
    "FileSystemConfigs": "FileSystemConfigs",
    "TenancyConfig": "TenancyConfig",
    "CapacityProviderConfig": "CapacityProviderConfig",
    "DurableConfig": "DurableConfig",
    "RuntimeConfig": "RuntimeConfig",
    "AcceleratorConfig": "AcceleratorConfig",
    "PublishTo": "PublishTo",
}


def check_built(params: Mapping[str, Any]) -> None:
    """Refuse, by name, what would change how the function runs and is not built yet."""
    for member, what in _UNBUILT.items():
        if params.get(member):
            raise not_built(what)
    vpc = params.get("VpcConfig") or {}
    if vpc.get("SubnetIds") or vpc.get("SecurityGroupIds"):
        raise not_built("VpcConfig")


def check_request_size(body: bytes, code: Mapping[str, Any]) -> None:
    """CreateFunction's limit on the whole request, which AWS checks after that on the package (recorded)."""
    if len(body) > _MAX_REQUEST_BYTES and len(code.get("ZipFile") or b"") <= MAX_ZIPPED_BYTES:
        raise too_large(f"Request must be smaller than {_MAX_REQUEST_BYTES} bytes for the CreateFunction operation")


def fields(params: Mapping[str, Any]) -> dict[str, Any]:
    """The `Function` fields that the given members set; members not given set nothing, nor does an empty
    DeadLetterConfig (recorded on AWS).

    Raises AwsError for the first member outside AWS's limits.
    """
    found: dict[str, Any] = {}
    for member, (name, check) in _MEMBERS.items():
        if (value := params.get(member)) is not None and (value or member != "DeadLetterConfig"):
            found[name] = check(value)
    if found.get("snap_start") == "PublishedVersions" and is_custom(found.get("runtime", "")):
        raise invalid(f"{found['runtime']} is not supported for SnapStart enabled functions.")
    return found


def _role(arn: str) -> str:
    if not re.fullmatch(_ROLE, arn):
        raise constraint(arn, "role", f"Member must satisfy regular expression pattern: {_ROLE}")
    return arn


def _handler(handler: str) -> str:
    if len(handler) > 128:
        raise constraint(handler, "handler", "Member must have length less than or equal to 128")
    if not re.fullmatch(r"\S+", handler):
        raise constraint(handler, "handler", r"Member must satisfy regular expression pattern: [^\s]+")
    return handler


def _description(text: str) -> str:
    if len(text) > 256:
        raise constraint(text, "description", "Member must have length less than or equal to 256")
    return text


def _between(value: int, low: int, high: int, member: str) -> int:
    if value < low:
        raise constraint(value, member, f"Member must have value greater than or equal to {low}")
    if value > high:
        raise constraint(value, member, f"Member must have value less than or equal to {high}")
    return value


def _memory(value: int) -> int:
    return _between(value, 128, 10_240, "memorySize")


def _timeout(value: int) -> int:
    return _between(value, 1, 900, "timeout")


def _ephemeral_storage(value: Mapping[str, Any]) -> int:
    return _between(value["Size"], 512, 10_240, "ephemeralStorage.size")


def _environment(value: Mapping[str, Any]) -> dict[str, str]:
    variables: dict[str, str] = dict(value.get("Variables") or {})
    for key in variables:
        if not re.fullmatch(_VARIABLE, key):
            raise constraint(
                "{" + ", ".join(f"{k}={v}" for k, v in variables.items()) + "}",
                "environment.variables",
                f"Map keys must satisfy constraint: [Member must satisfy regular expression pattern: {_VARIABLE}]",
            )
    if reserved := [key for key in variables if key in _RESERVED_VARIABLES]:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode(errors="surrogatepass")) > _MAX_ENVIRONMENT_BYTES:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
    return variables


def _architectures(value: list[str]) -> list[str]:
    if len(value) != 1 or value[0] not in ("x86_64", "arm64"):
        shown = f"[{', '.join(value)}]"
        rule = "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]"
        raise constraint(shown, "architectures", rule)
    return list(value)


def _logging(value: Mapping[str, Any]) -> dict[str, str]:
    """LoggingConfig; JSON brings AWS's default levels, Text refuses any (developer guide, "log-level filtering")."""
    config: dict[str, str] = {"LogFormat": "Text", **{k: v for k, v in value.items() if v}}
    if config["LogFormat"] == "JSON":
        return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **config}
    if "ApplicationLogLevel" in config or "SystemLogLevel" in config:
        raise invalid("Log Level is not supported when Log Format is set to Text. Remove Log Level from your request "
                      "or change the Log Format to JSON and try again.")  # fmt: skip
    return config


def merged_logging(before: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """LoggingConfig for an update: what is not given stays (recorded on AWS), but Text leaves no levels."""
    levels = ("ApplicationLogLevel", "SystemLogLevel")
    kept = {key: value for key, value in before.items() if given.get("LogFormat") != "Text" or key not in levels}
    return {**kept, **{key: value for key, value in given.items() if value}}


def _tracing(value: Mapping[str, Any]) -> str:
    """Stored and shown; no trace is ever sent anywhere."""
    return str(value.get("Mode") or "PassThrough")


def _snap_start(value: Mapping[str, Any]) -> str:
    return str(value.get("ApplyOn") or "None")


def _dead_letter(value: Mapping[str, Any]) -> str:
    """A queue or topic, or "" to take it away (developer guide, "dead-letter queues"; the words are unverified)."""
    target = str(value.get("TargetArn") or "")
    if target and not re.match(r"arn:aws[a-zA-Z-]*:(sqs|sns):", target):
        raise invalid(f"The provided dead letter target ARN {target} is invalid: it must be an SQS queue or SNS topic.")
    return target


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise invalid("Number of tags exceeds resource tag limit.")
    return dict(tags)


def _as_is(value: str) -> str:
    return value


_MEMBERS: dict[str, tuple[str, Any]] = {
    "Role": ("role", _role),
    "Runtime": ("runtime", checked_runtime),
    "Handler": ("handler", _handler),
    "Description": ("description", _description),
    "MemorySize": ("memory_mb", _memory),
    "Timeout": ("timeout_s", _timeout),
    "EphemeralStorage": ("ephemeral_storage_mb", _ephemeral_storage),
    "Environment": ("environment", _environment),
    "Architectures": ("architectures", _architectures),
    "LoggingConfig": ("logging", _logging),
    "TracingConfig": ("tracing_mode", _tracing),
    "SnapStart": ("snap_start", _snap_start),
    "DeadLetterConfig": ("dead_letter_arn", _dead_letter),
    "KMSKeyArn": ("kms_key_arn", _as_is),
    "ImageConfig": ("image_config", dict),
}


def check_revision(expected: str | None, actual: str) -> None:
    """Raise PreconditionFailedException (412) for a given RevisionId that is not the latest."""
    if expected is not None and expected != actual:
        raise revision_mismatch()
