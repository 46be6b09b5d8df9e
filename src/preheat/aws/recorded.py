"""Lambda's model (two members of API Gateway's, a name of ECR's) as AWS's answers show it, not as botocore has it.

AWS's validation messages quote a shape's pattern and length. They are known from answers recorded on AWS in 2024
(localstack/localstack, tests/aws/services/lambda_/test_lambda_api.snapshot.json); the model has since been widened for
regions and features that are not built here, and the words of today's answers have not been recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REGION = r"[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"
_OLDER_REGION = r"[a-z]{2}((-gov)|(-iso(b?)))?-[a-z]+-\d{1}"
_FUNCTION = rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?({_REGION}:)?(\d{{12}}:)?(function:)?"
_UUID = "-".join(f"[0-9a-fA-F]{{{digits}}}" for digits in (8, 4, 4, 4, 12))
_QUALIFIED = r"(:(\$LATEST|[a-zA-Z0-9-_]+))?"

_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "FunctionName": {"pattern": rf"{_FUNCTION}([a-zA-Z0-9-_]+){_QUALIFIED}"},
    "NamespacedFunctionName": {"pattern": rf"{_FUNCTION}([a-zA-Z0-9-_\.]+){_QUALIFIED}", "max": 170},
    "UnqualifiedFunctionName": {"pattern": rf"{_FUNCTION}([a-zA-Z0-9-_]+)"},
    "NumericLatestPublishedOrAliasQualifier": {"pattern": "(|[a-zA-Z0-9$_-]+)"},
    "TaggableResource": {
        "pattern": rf"arn:(aws[a-zA-Z-]*):lambda:{_REGION}:\d{{12}}:(function:[a-zA-Z0-9-_]+{_QUALIFIED}|"
        r"layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|"
        rf"event-source-mapping:{_UUID})"
    },
    "InvokeMode": {"enum": ["RESPONSE_STREAM", "BUFFERED"]},
    "RecursiveLoop": {"enum": ["Terminate", "Allow"]},
    "DestinationArn": {
        "pattern": rf"^$|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:({_OLDER_REGION})?:(\d{{12}})?:(.*)",
    },
    "LayerVersionArn": {
        "pattern": rf"(arn:[a-zA-Z0-9-]+:lambda:{_OLDER_REGION}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)|"
        r"(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
        "max": 140,
    },
}
_LAYER_BY_ARN = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:{_REGION}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)|"
    r"(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
_PLAIN_NAMES = (
    "AddPermission",
    "CreateEventSourceMapping",
    "DeleteFunction",
    "DeleteFunctionCodeSigningConfig",
    "DeleteFunctionEventInvokeConfig",
    "GetFunctionCodeSigningConfig",
    "GetFunctionEventInvokeConfig",
    "ListEventSourceMappings",
    "ListFunctionEventInvokeConfigs",
    "PutFunctionCodeSigningConfig",
    "PutFunctionEventInvokeConfig",
    "PutRuntimeManagementConfig",
    "RemovePermission",
    "UpdateEventSourceMapping",
    "UpdateFunctionEventInvokeConfig",
)
"""Operations whose FunctionName was of the shape FunctionName (botocore 1.35)."""
_UNCHECKED = {
    "CreateFunctionRequest": ("Runtime",),
    "UpdateFunctionConfigurationRequest": ("Runtime",),
    "ListLayersRequest": ("CompatibleRuntime",),
    "ListLayerVersionsRequest": ("CompatibleRuntime",),
    "PublishLayerVersionRequest": ("CompatibleRuntimes", "CompatibleArchitectures"),
}
"""Members whose values the service itself checks, with lists and words of its own."""

_TEMPLATES = (
    ("PutIntegrationRequest", "requestTemplates"),
    ("PutIntegrationResponseRequest", "responseTemplates"),
)
"""API Gateway keeps a template that is null (the CLI's examples show `"application/json": null`)."""


def as_recorded(service: str, document: dict[str, Any]) -> dict[str, Any]:
    """The service's model with AWS's recorded constraints; changes and returns `document`."""
    shapes = document["shapes"]
    if service == "apigateway":
        shapes["Templates"] = {**shapes["MapOfStringToString"], "sparse": True}
        for request, member in _TEMPLATES:
            shapes[request]["members"][member]["shape"] = "Templates"
    if service == "ecr":
        name = shapes["RepositoryName"]
        name["pattern"] = name["pattern"].replace("\\/", "/")  # so in ECR's answers
    if service != "lambda":
        return document
    for name, traits in _SHAPES.items():
        shapes[name].update(traits)
    for operation in _PLAIN_NAMES:
        shapes[f"{operation}Request"]["members"]["FunctionName"]["shape"] = "FunctionName"
    shapes["GetLayerVersionByArnRequest"]["members"]["Arn"]["pattern"] = _LAYER_BY_ARN
    shapes["UncheckedName"] = {"type": "string"}
    shapes["UncheckedNames"] = {"type": "list", "member": {"shape": "UncheckedName"}}
    for request, members in _UNCHECKED.items():
        for member in members:
            reference = shapes[request]["members"][member]
            reference["shape"] = "UncheckedNames" if member.endswith("s") else "UncheckedName"
    return document
