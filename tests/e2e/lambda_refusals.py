"""Refusals of Lambda's API as recorded on AWS: one row a call. See `test_lambda_api_snapshots.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from e2e_cloud import ROLE, zipped

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:"
SIGNING = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdefg"
MAPPING = "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:01234567-89ab-cdef-0123-456789abcdef"
SOURCE = "def lambda_handler(event, context):\n    return event\n"
FACTS = {"Runtime": "python3.11", "Role": ROLE, "Handler": "lambda_function.lambda_handler"}

REGION = r"[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"
BEFORE_NAME = rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?({REGION}:)?(\d{{12}}:)?(function:)?"
PLAIN = rf"{BEFORE_NAME}([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
DOTTED = rf"{BEFORE_NAME}([a-zA-Z0-9-_\.]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
RUNTIMES = (
    "[nodejs20.x, provided.al2023, python3.12, python3.13, nodejs22.x, java17, nodejs16.x, dotnet8, python3.10, "
    "java11, python3.11, dotnet6, java21, nodejs18.x, provided.al2, ruby3.3, java8.al2, ruby3.2, python3.8, python3.9]"
)


def broken(value: str, member: str, rule: str) -> str:
    return f"Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"


def pattern(value: str, member: str, expression: str) -> str:
    return f"1 validation error detected: {broken(value, member, f'satisfy regular expression pattern: {expression}')}"


@dataclass(frozen=True)
class Row:
    """`typed` is whether the answer's body has a `Type`; validation errors never show one to boto3."""

    scenario: str
    operation: str
    params: dict[str, Any]
    status: int
    code: str
    message: str | None
    typed: bool = True
    body_key: str = "message"
    """How the message is spelt beside boto3's own `Error`; "" where it is not repeated."""


def missing(scenario: str, operation: str, params: dict[str, Any], message: str, *, typed: bool = True) -> Row:
    return Row(scenario, operation, params, 404, "ResourceNotFoundException", message, typed, "Message")


def invalid(scenario: str, operation: str, params: dict[str, Any], message: str, *, typed: bool = True) -> Row:
    return Row(scenario, operation, params, 400, "InvalidParameterValueException", message, typed)


def constrained(scenario: str, operation: str, params: dict[str, Any], message: str) -> Row:
    return Row(scenario, operation, params, 400, "ValidationException", message, False, "")


def create(name: str, **changes: Any) -> dict[str, Any]:
    return {"FunctionName": name, "Code": {"ZipFile": zipped(SOURCE)}, **FACTS, **changes}


IRIS = {"FunctionName": "iris"}
GONE = {"FunctionName": "gone"}
NO_SUCH = "The resource you requested does not exist."
ROWS = [
    constrained(
        "test_function_name_and_qualifier_validation: characters",
        "get_function",
        {"FunctionName": "my-function!"},
        pattern("my-function!", "functionName", DOTTED),
    ),
    constrained(
        "test_function_name_and_qualifier_validation: characters, where no dot is allowed",
        "delete_function",
        {"FunctionName": "my-function!"},
        pattern("my-function!", "functionName", PLAIN),
    ),
    constrained(
        "test_function_name_and_qualifier_validation: invoke",
        "invoke",
        {"FunctionName": f"{ARN}iris:1:2"},
        pattern(f"{ARN}iris:1:2", "functionName", DOTTED),
    ),
    constrained(
        "test_function_name_and_qualifier_validation: a qualifier's characters",
        "invoke",
        {**IRIS, "Qualifier": "invalid!"},
        pattern("invalid!", "qualifier", "(|[a-zA-Z0-9$_-]+)"),
    ),
    constrained(
        "test_function_name_and_qualifier_validation: a qualifier's length",
        "invoke",
        {**IRIS, "Qualifier": "a" * 129},
        f"1 validation error detected: {broken('a' * 129, 'qualifier', 'have length less than or equal to 128')}",
    ),
    missing(
        "test_function_name_and_qualifier_validation: incomplete_arn",
        "get_function",
        {"FunctionName": ARN.removesuffix(":")},
        f"Function not found: {ARN}function",
    ),
    missing(
        "test_function_name_and_qualifier_validation: lowercase_latest_qualifier",
        "get_function",
        {**IRIS, "Qualifier": "$latest"},
        f"Function not found: {ARN}iris:$latest",
    ),
    invalid(
        "test_function_name_and_qualifier_validation: an alias cannot be deleted so",
        "delete_function",
        {**GONE, "Qualifier": "prod"},
        "Deletion of aliases is not currently supported.",
    ),
    invalid(
        "test_function_arns: long_function_name",
        "create_function",
        create("a" * 65),
        f"1 validation error detected: {broken('a' * 65, 'functionName', 'have length less than or equal to 64')}",
    ),
    Row(
        "test_function_arns: function_arn_other_account",
        "create_function",
        create("arn:aws:lambda:us-east-1:123456789012:function:iris"),
        403,
        "AccessDeniedException",
        None,
        typed=False,
        body_key="",
    ),
    missing(
        "test_get_function_wrong_region",
        "get_function",
        {"FunctionName": "arn:aws:lambda:eu-central-1:000000000000:function:iris"},
        "Functions from 'eu-central-1' are not reachable in this region ('us-east-1')",
    ),
    invalid(
        "test_create_lambda_exceptions: invalid_runtime",
        "create_function",
        create("new", Runtime="non-existent-runtime"),
        "Value non-existent-runtime at 'runtime' failed to satisfy constraint: "
        f"Member must satisfy enum value set: {RUNTIMES} or be a valid ARN",
    ),
    invalid(
        "test_create_deprecated_function_runtime_with_validation_enabled",
        "create_function",
        create("new", Runtime="nodejs14.x"),
        "The runtime parameter of nodejs14.x is no longer supported for creating or updating AWS Lambda functions. "
        "We recommend you use a supported runtime while creating or updating functions.",
    ),
    invalid(
        "test_lambda_zip_file_to_image",
        "update_function_code",
        {**IRIS, "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/iris:latest"},
        "Please don't provide ImageUri when updating a function with packageType Zip.",
    ),
    missing(
        "test_non_existent_alias_update",
        "update_alias",
        {**IRIS, "Name": "nope", "Description": "x"},
        f"Alias not found: {ARN}iris:nope",
    ),
    constrained(
        "test_notfound_and_invalid_routingconfigs: toohigh",
        "create_alias",
        {**IRIS, "Name": "new", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2}}},
        "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
        "constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
        "Member must have value greater than or equal to 0.0, Member must not be null]",
    ),
    invalid(
        "test_notfound_and_invalid_routingconfigs: version_latest",
        "create_alias",
        {
            **IRIS,
            "Name": "new",
            "FunctionVersion": "$LATEST",
            "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}},
        },
        "$LATEST is not supported for an alias pointing to more than 1 version",
        typed=False,
    ),
    constrained(
        "test_permission_exceptions: qualifier_invalid",
        "add_permission",
        {**IRIS, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*", "Qualifier": "with-?"},
        pattern("with-?", "qualifier", "(|[a-zA-Z0-9$_-]+)"),
    ),
    missing(
        "test_permission_exceptions: qualifier_valid_doesnotexist",
        "add_permission",
        {**IRIS, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*", "Qualifier": "with-$"},
        f"Function not found: {ARN}iris:with-$",
    ),
    missing(
        "test_permission_exceptions: get_policy_fn_version_doesnotexist",
        "get_policy",
        {**IRIS, "Qualifier": "77"},
        NO_SUCH,
    ),
    invalid(
        "test_function_concurrency_limits",
        "put_function_concurrency",
        {**IRIS, "ReservedConcurrentExecutions": 901},
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100].",
        typed=False,
    ),
    invalid(
        "test_provisioned_concurrency_limits: account_limit_exceeded",
        "put_provisioned_concurrency_config",
        {**IRIS, "Qualifier": "1", "ProvisionedConcurrentExecutions": 1001},
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
        typed=False,
    ),
    constrained(
        "test_lambda_eventinvokeconfig_exceptions: invalid_arn_pattern",
        "put_function_event_invoke_config",
        {**IRIS, "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:_!:us-east-1:000000000000:x"}}},
        pattern(
            "arn:aws:_!:us-east-1:000000000000:x",
            "destinationConfig.onFailure.destination",
            r"^$|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}((-gov)|(-iso(b?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)",
        ),
    ),
    constrained(
        "test_lambda_url_invalid_invoke_mode",
        "create_function_url_config",
        {**IRIS, "AuthType": "NONE", "InvokeMode": "UNKNOWN"},
        f"1 validation error detected: "
        f"{broken('UNKNOWN', 'invokeMode', 'satisfy enum value set: [RESPONSE_STREAM, BUFFERED]')}",
    ),
    constrained(
        "test_put_function_recursion_config_invalid_value",
        "put_function_recursion_config",
        {**IRIS, "RecursiveLoop": "Maybe"},
        f"1 validation error detected: "
        f"{broken('Maybe', 'recursiveLoop', 'satisfy enum value set: [Terminate, Allow]')}",
    ),
    constrained(
        "test_tag_exceptions: invalid_arn",
        "list_tags",
        {"Resource": "arn:aws:something"},
        pattern(
            "arn:aws:something",
            "resource",
            rf"arn:(aws[a-zA-Z-]*):lambda:{REGION}:\d{{12}}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|"
            r"layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-"
            r"[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})",
        ),
    ),
    missing(
        "test_tag_exceptions[event_source_mapping]",
        "tag_resource",
        {"Resource": MAPPING, "Tags": {"A": "B"}},
        f"Event source mapping not found: {MAPPING}",
    ),
    constrained(
        "test_layer_exceptions: invalid_runtime_arch",
        "publish_layer_version",
        {
            "LayerName": "bad",
            "Content": {"ZipFile": zipped("", "python/x.py")},
            "CompatibleRuntimes": ["invalidruntime"],
            "CompatibleArchitectures": ["invalidarch"],
        },
        "2 validation errors detected: Value '[invalidruntime]' at 'compatibleRuntimes' failed to satisfy constraint: "
        f"Member must satisfy enum value set: {RUNTIMES}; Value '[invalidarch]' at 'compatibleArchitectures' failed to "
        "satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]",
    ),
    constrained(
        "test_layer_function_exceptions: arn_without_version",
        "update_function_configuration",
        {**IRIS, "Layers": [f"{LAYER}tools"]},
        f"1 validation error detected: Value '[{LAYER}tools]' at 'layers' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must have length less than or equal to 140, Member must have length greater than "
        "or equal to 1, Member must satisfy regular expression pattern: "
        r"(arn:[a-zA-Z0-9-]+:lambda:[a-z]{2}((-gov)|(-iso(b?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|"
        "(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]",
    ),
    missing(
        "test_code_signing_not_found_excs: get",
        "get_code_signing_config",
        {"CodeSigningConfigArn": SIGNING},
        f"The Lambda code signing configuration {SIGNING} can not be found.",
        typed=False,
    ),
    Row(
        "test_code_signing_not_found_excs: put",
        "put_function_code_signing_config",
        {**IRIS, "CodeSigningConfigArn": SIGNING},
        404,
        "CodeSigningConfigNotFoundException",
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
        f"{SIGNING}.",
        body_key="Message",
    ),
    missing(
        "test_event_source_mapping_exceptions: unknown_uuid",
        "get_event_source_mapping",
        {"UUID": "01234567-89ab-cdef-0123-456789abcdef"},
        NO_SUCH,
    ),
    invalid(
        "test_event_source_mapping_exceptions: no_event_source_arn",
        "create_event_source_mapping",
        GONE,
        "Unrecognized event source.",
    ),
    invalid(
        "test_event_source_mapping_exceptions: unknown_params",
        "create_event_source_mapping",
        {**GONE, "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:orders"},
        "Function does not exist",
    ),
    invalid(
        "test_create_event_source_validation",
        "create_event_source_mapping",
        {**IRIS, "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/orders"},
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
        "Member must not be null.",
    ),
    Row(
        "test_lambda_invoke_payload_encoding_error: body",
        "invoke",
        {**IRIS, "Payload": b"n\x87r\x9e"},
        400,
        "InvalidRequestContentException",
        "Could not parse request body into json: Could not parse payload into json: Invalid UTF-8 start byte 0x87\n"
        ' at [Source: (byte[])"n\ufffdr\ufffd"; line: 1, column: 3]',
    ),
    Row(
        "test_lambda_invoke_payload_encoding_error: message",
        "invoke",
        {**IRIS, "Payload": b"\x99\xeb,j"},
        400,
        "InvalidRequestContentException",
        "Could not parse request body into json: Could not parse payload into json: Unexpected character "
        "((CTRL-CHAR, code 153)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' "
        "or 'false')\n at [Source: (byte[])\"\ufffd\ufffd,j\"; line: 1, column: 2]",
    ),
]
