"""Create or update a function through the Lambda API, and wait until it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preheat.deploy.bundle import zipped
from preheat.deploy.deployment import Plan
from preheat.deploy.packages import Say
from preheat.deploy.target import Clients, Target
from preheat.kernel.errors import PreheatError

HOT_RELOAD_BUCKET = "hot-reload"
"""With this bucket name local emulators take S3Key as an absolute directory (LocalStack's docs, "Hot reloading")."""


def code_argument(target: Target, build_dir: str) -> dict[str, Any]:
    """The code's members of CreateFunction and UpdateFunctionCode: a directory locally, a zip for AWS."""
    if target.local:
        return {"S3Bucket": HOT_RELOAD_BUCKET, "S3Key": build_dir}
    return {"ZipFile": zipped(Path(build_dir))}


def put(clients: Clients, target: Target, plan: Plan, role_arn: str, code: dict[str, Any], say: Say) -> dict[str, Any]:
    """Bring the function to the plan, whether it exists or not; returns its configuration once it is ready.

    A function cannot change between zip and image: locally it is made anew, on AWS that is a PreheatError 252.
    """
    lambda_ = clients.lambda_
    package_type = "Image" if plan.image else "Zip"
    configuration: dict[str, Any] = {
        "FunctionName": plan.name,
        "Role": role_arn,
        "MemorySize": plan.memory_mb,
        "Timeout": plan.timeout_s,
        "Environment": {"Variables": plan.environment},
    }
    if not plan.image:
        configuration |= {"Runtime": plan.runtime, "Handler": plan.handler}
    before = current(clients, plan.name)
    if before is not None and before["PackageType"] != package_type:
        _make_way(clients, target, plan.name, before["PackageType"], say)
        before = None
    if plan.snap_start or (before or {}).get("SnapStart", {}).get("ApplyOn", "None") != "None":
        configuration["SnapStart"] = {"ApplyOn": "PublishedVersions" if plan.snap_start else "None"}
    if before is not None:
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=plan.name)  # a change still in progress is a 409
        lambda_.update_function_configuration(**configuration)
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
        lambda_.update_function_code(FunctionName=plan.name, **code)
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=plan.name)
    else:
        lambda_.create_function(**configuration, Code=code, PackageType=package_type)  # type: ignore[arg-type]
        # an image is unpacked meanwhile; the waiter's own pace is 1 s
        lambda_.get_waiter("function_active_v2").wait(FunctionName=plan.name)
    return dict(lambda_.get_function_configuration(FunctionName=plan.name))


def _make_way(clients: Clients, target: Target, name: str, package_type: str, say: Say) -> None:
    if not target.local:
        raise PreheatError(
            f"function {name} has PackageType {package_type}, which cannot change: delete it or give --name", 252
        )
    say(f"function {name}: its PackageType {package_type} cannot change, so it is deleted and made anew")
    clients.lambda_.delete_function(FunctionName=name)


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
