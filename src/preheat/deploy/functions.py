"""Create or update a function through the Lambda API, and wait until it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preheat.deploy.bundle import zipped
from preheat.deploy.deployment import Plan
from preheat.deploy.target import Clients, Target

HOT_RELOAD_BUCKET = "hot-reload"
"""With this bucket name local emulators take S3Key as an absolute directory (LocalStack's docs, "Hot reloading")."""


def code_argument(target: Target, build_dir: Path) -> dict[str, Any]:
    """The code's members of CreateFunction and UpdateFunctionCode: a directory locally, a zip for AWS."""
    if target.local:
        return {"S3Bucket": HOT_RELOAD_BUCKET, "S3Key": str(build_dir)}
    return {"ZipFile": zipped(build_dir)}


def put(clients: Clients, plan: Plan, role_arn: str, code: dict[str, Any]) -> dict[str, Any]:
    """Bring the function to the plan, whether it exists or not; returns its configuration once it is ready."""
    lambda_ = clients.lambda_
    configuration: dict[str, Any] = {
        "FunctionName": plan.name,
        "Runtime": plan.runtime,
        "Handler": plan.handler,
        "Role": role_arn,
        "MemorySize": plan.memory_mb,
        "Timeout": plan.timeout_s,
        "Environment": {"Variables": plan.environment},
    }
    before = current(clients, plan.name)
    if plan.snap_start or (before or {}).get("SnapStart", {}).get("ApplyOn", "None") != "None":
        configuration["SnapStart"] = {"ApplyOn": "PublishedVersions" if plan.snap_start else "None"}
    if before is not None:
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=plan.name)  # a change still in progress is a 409
        lambda_.update_function_configuration(**configuration)
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
        lambda_.update_function_code(FunctionName=plan.name, **code)
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
    else:
        lambda_.create_function(**configuration, Code=code, PackageType="Zip")  # type: ignore[arg-type]
        lambda_.get_waiter("function_active_v2").wait(FunctionName=plan.name)
    return dict(lambda_.get_function_configuration(FunctionName=plan.name))


def current(clients: Clients, name: str) -> dict[str, Any] | None:
    """The configuration of a function's $LATEST; None if there is no such function."""
    try:
        return dict(clients.lambda_.get_function_configuration(FunctionName=name))
    except clients.lambda_.exceptions.ResourceNotFoundException:
        return None


def start_fresh(clients: Clients, name: str, reason: str) -> None:
    """Leave the function without an execution environment, so that the next request is a cold start.

    Any change of the configuration does that, on AWS as here; the description is the one that changes nothing else.
    """
    clients.lambda_.update_function_configuration(FunctionName=name, Description=reason)
    clients.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
