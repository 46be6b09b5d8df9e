"""The whole of a deployment, step by step on one page."""

from __future__ import annotations

import re
import time
from pathlib import Path

from preheat.deploy import bundle, commands, functions, gateway, trial
from preheat.deploy.deployment import Deployment, Plan
from preheat.deploy.packages import Say
from preheat.deploy.target import Clients, Target, spoken
from preheat.kernel.errors import PreheatError

_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
"""Lambda's rule for a function name (API reference, CreateFunction)."""


def deploy(plan: Plan, target: Target, clients: Clients, data_dir: Path, say: Say) -> Deployment:
    """Build, create or update, put a REST API in front, try it, save the record. Raises PreheatError."""
    if not _FUNCTION_NAME.fullmatch(plan.name):
        raise PreheatError(f"{plan.name!r} is no function name (letters, digits, - and _): give --name", 252)
    body = trial.sample_body(plan.project_dir)
    with spoken(target):
        # First of all, so that a missing cloud or role is known before minutes of building.
        role_arn = clients.iam.get_role(RoleName=plan.role)["Role"]["Arn"]
        build_dir = bundle.build(
            plan.project_dir,
            plan.name,
            plan.runtime,
            plan.handler,
            for_aws=not target.local,
            cache_dir=data_dir / "build",
            say=say,
        )
        code = functions.code_argument(target, build_dir)
        say(f"function {plan.name}: {plan.runtime}, {plan.memory_mb} MB, role {plan.role}")
        configuration = functions.put(clients, plan, role_arn, code)
        say(f"function {plan.name}: {configuration.get('State', 'Active')}")
        arn = configuration["FunctionArn"]
        api = gateway.put(clients, target, function_arn=arn, name=plan.name, stage=plan.stage)
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
        version=configuration["Version"],
        runtime=plan.runtime,
        handler=plan.handler,
        memory_mb=plan.memory_mb,
        timeout_s=plan.timeout_s,
        role_arn=role_arn,
        api_id=api.api_id,
        stage=plan.stage,
        host=api.host,
        url=api.url,
        project_dir=str(plan.project_dir.resolve()),
        build_dir=str(build_dir),
        curl=commands.curl(api.url, body),
        invoke_web_request=commands.invoke_web_request(api.url, body),
        deployed_at=time.time(),
        sample=sample,
    )
    record.save(data_dir)
    return record
