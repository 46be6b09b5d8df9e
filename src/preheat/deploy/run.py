"""The whole of a deployment, step by step on one page."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from preheat.deploy import bundle, commands, functions, gateway, trial, versions
from preheat.deploy.deployment import Deployment, Plan
from preheat.deploy.packages import Say
from preheat.deploy.target import Clients, Target, spoken
from preheat.kernel.errors import PreheatError

_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
"""Lambda's rule for a function name (API reference, CreateFunction)."""

_NO_SNAP_START = ("python3.8", "python3.9", "python3.10", "python3.11")
"""AWS offers SnapStart from Python 3.12 on (developer guide, "Improving startup performance with SnapStart")."""


def deploy(
    plan: Plan, target: Target, clients: Clients, data_dir: Path, say: Say, make_image: Callable[[], str] | None = None
) -> Deployment:
    """Build, create or update, put a REST API in front, try it, save the record. Raises PreheatError.

    `make_image` builds and pushes the image that the plan asks for and returns its URI.
    """
    _check(plan)
    body = trial.sample_body(plan.project_dir)
    with spoken(target):
        # First of all, so that a missing cloud or role is known before minutes of building.
        role_arn = clients.iam.get_role(RoleName=plan.role)["Role"]["Arn"]
        image_uri = make_image() if make_image is not None else None
        build_dir = "" if image_uri else str(_bundled(plan, target, data_dir, say))
        code = {"ImageUri": image_uri} if image_uri else functions.code_argument(target, build_dir)
        say(f"function {plan.name}: {image_uri or plan.runtime}, {plan.memory_mb} MB, role {plan.role}")
        configuration = functions.put(clients, target, plan, role_arn, code, say)
        say(f"function {plan.name}: {configuration.get('State', 'Active')}")
        published = _publish(plan, target, clients, say) if plan.published else None
        arn = configuration["FunctionArn"]
        called = published.arn if published else arn
        api = gateway.put(clients, target, function_arn=called, name=plan.name, stage=plan.stage)
        if published is None:
            versions.withdraw(clients, plan.name)
        say(f"REST API {api.api_id}: ANY /{plan.name}, deployed to stage {plan.stage}")
        say("sending one request")
        sample = trial.run(
            clients, target, function=plan.name, url=api.url, body=body, timeout_s=plan.timeout_s, say=say
        )
    record = Deployment(
        target=target.name,
        region=target.region,
        profile=target.profile,
        endpoint_url=target.endpoint_url,
        function=plan.name,
        function_arn=arn,
        version=published.version if published else configuration["Version"],
        runtime="" if plan.image else plan.runtime,
        handler="" if plan.image else plan.handler,
        memory_mb=plan.memory_mb,
        timeout_s=plan.timeout_s,
        role_arn=role_arn,
        api_id=api.api_id,
        stage=plan.stage,
        host=api.host,
        url=api.url,
        project_dir=str(plan.project_dir.resolve()),
        build_dir=build_dir,
        curl=commands.curl(api.url, body),
        invoke_web_request=commands.invoke_web_request(api.url, body),
        deployed_at=time.time(),
        sample=sample,
        qualifier=versions.ALIAS if published else None,
        snap_start=plan.snap_start,
        provisioned=plan.provisioned,
        image_uri=image_uri,
    )
    record.save(data_dir)
    return record


def start_fresh(record: Deployment, target: Target, clients: Clients, data_dir: Path, say: Say) -> Deployment:
    """Leave a deployment without used execution environments, so that a load begins with cold starts.

    Where an alias serves, that is a new version behind it: the record is saved with its number and returned.
    """
    reason = f"load {time.time():.6f}"  # differs every time: an unchanged function is not published again
    with spoken(target):
        functions.start_fresh(clients, record.function, f"preheat {reason}")
        if record.qualifier is None:
            return record
        published = versions.publish(
            clients,
            target,
            name=record.function,
            provisioned=record.provisioned,
            reason=reason,
            snap_start=record.snap_start,
            say=say,
        )
    record = replace(record, version=published.version)
    record.save(data_dir)
    return record


def _check(plan: Plan) -> None:
    if not _FUNCTION_NAME.fullmatch(plan.name):
        raise PreheatError(f"{plan.name!r} is no function name (letters, digits, - and _): give --name", 252)
    if plan.snap_start and plan.provisioned:
        raise PreheatError("SnapStart and provisioned concurrency exclude each other on AWS: give one of them", 252)


def _bundled(plan: Plan, target: Target, data_dir: Path, say: Say) -> Path:
    return bundle.build(
        plan.project_dir,
        plan.name,
        plan.runtime,
        plan.handler,
        for_aws=not target.local,
        cache_dir=data_dir / "build",
        say=say,
    )


def _publish(plan: Plan, target: Target, clients: Clients, say: Say) -> versions.Published:
    if plan.snap_start and target.local and not plan.image and plan.runtime in _NO_SNAP_START:
        say(f"note: AWS itself offers SnapStart from python3.12 on, not for {plan.runtime}")
    return versions.publish(
        clients,
        target,
        name=plan.name,
        provisioned=plan.provisioned,
        reason=f"deploy {time.time():.6f}",
        snap_start=plan.snap_start,
        say=say,
    )
