import pytest

from preheat.aws.model import load_service
from preheat.aws.validation import Validator
from preheat.kernel.errors import AwsError

ROLE = "arn:aws:iam::000000000000:role/LabRole"
CREATE = {"FunctionName": "iris", "Role": ROLE, "Code": {"ZipFile": b"x"}}


def problems(service: str, operation: str, params: dict) -> AwsError:
    model = load_service(service)
    with pytest.raises(AwsError) as caught:
        Validator(model).validate(model.operations[operation], params)
    return caught.value


def test_what_fits_passes() -> None:
    model = load_service("lambda")
    environment = {"Variables": {"A_B": ""}}
    params = {**CREATE, "MemorySize": 128, "Timeout": 900, "Environment": environment, "Tags": {"größe": "a b"}}
    Validator(model).validate(model.operations["CreateFunction"], params)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Role": None}, "Value null at 'role' failed to satisfy constraint: Member must not be null"),
        (
            {"MemorySize": 64},
            "Value '64' at 'memorySize' failed to satisfy constraint: "
            "Member must have value greater than or equal to 128",
        ),
        ({"PackageType": "Jar"}, "Value 'Jar' at 'packageType' failed to satisfy constraint: Member must satisfy enum"),
        (
            {"Code": {"S3Bucket": "%%B%%"}},
            "Value '%%B%%' at 'code.s3Bucket' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [0-9A-Za-z\\.\\-_]*(?<!\\.)",
        ),
        (
            {"Architectures": ["arm"]},
            "Value '[arm]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
        (
            {"Environment": {"Variables": {"1": "secret"}}},
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: "
            "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]",
        ),
        (
            {"Layers": ["x\n"]},
            "Value '[x\n]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [",
        ),
    ],
)
def test_lambda(change: dict, expected: str) -> None:
    error = problems("lambda", "CreateFunction", {**CREATE, **change})
    assert (error.code, error.status) == ("ValidationException", 400)
    assert error.message.startswith(f"1 validation error detected: {expected}")


def test_several_problems_pattern_before_length() -> None:
    error = problems("logs", "CreateLogGroup", {"logGroupName": ""})
    assert error.code == "InvalidParameterException"
    assert error.message == (
        "2 validation errors detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must satisfy "
        "regular expression pattern: [\\.\\-_/#A-Za-z0-9]+; Value '' at 'logGroupName' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


def test_query_services_and_nested_paths() -> None:
    tags = [{"Key": "ok", "Value": "x"}, {"Key": "a\t", "Value": "x"}]
    error = problems("iam", "TagRole", {"RoleName": "r", "Tags": tags})
    assert error.code == "ValidationError"
    assert "Value 'a\t' at 'tags.2.member.key' failed to satisfy constraint" in error.message


def test_api_gateway_names_its_input() -> None:
    params = {"restApiId": "a", "resourceId": "b", "httpMethod": "GET", "type": "HTTPS_PROXY"}
    error = problems("apigateway", "PutIntegration", params)
    assert error.code == "ValidationException"
    assert "Value 'HTTPS_PROXY' at 'putIntegrationInput.type' failed to satisfy constraint" in error.message
