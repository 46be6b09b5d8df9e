"""AWS's own words for what can go wrong.

Sources: responses recorded against real AWS in localstack's public snapshot tests
(tests/aws/services/apigateway/*.snapshot.json); moto's apigateway/exceptions.py for the few not recorded there.
"""

from __future__ import annotations

from preheat.kernel.errors import AwsError


def bad_request(message: str) -> AwsError:
    return AwsError("BadRequestException", message, 400)


def conflict(message: str) -> AwsError:
    return AwsError("ConflictException", message, 409)


def not_found(message: str) -> AwsError:
    return AwsError("NotFoundException", message, 404)


def not_built(what: str) -> AwsError:
    """What AWS has and this program does not: refused by name rather than accepted and ignored."""
    return AwsError("NotImplementedException", f"{what} is not built in preheat's API Gateway yet", 501)


def no_api(account_id: str, api_id: str) -> AwsError:
    return not_found(f"Invalid API identifier specified {account_id}:{api_id}")


def no_resource() -> AwsError:
    return not_found("Invalid Resource identifier specified")


def no_method() -> AwsError:
    return not_found("Invalid Method identifier specified")


def no_integration() -> AwsError:
    return not_found("Invalid Integration identifier specified")


def no_response() -> AwsError:
    return not_found("Invalid Response status code specified")


def no_deployment() -> AwsError:
    return not_found("Invalid Deployment identifier specified")


def no_stage() -> AwsError:
    return not_found("Invalid stage identifier specified")


def name_taken(path_part: str) -> AwsError:
    return conflict(f"Another resource with the same parent already has this name: {path_part}")


def no_model(name: str) -> AwsError:
    return not_found(f"Invalid model name specified: {name}")


def no_validator() -> AwsError:
    return not_found("Invalid Request Validator identifier specified")


def no_authorizer() -> AwsError:
    return not_found("Invalid Authorizer identifier specified")


def no_key() -> AwsError:
    return not_found("Invalid API Key identifier specified")


def no_plan() -> AwsError:
    return not_found("Invalid Usage Plan ID specified")
