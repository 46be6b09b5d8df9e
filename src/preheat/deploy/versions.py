"""A published version behind an alias: what SnapStart and provisioned concurrency need, and how they are left again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from preheat.deploy.packages import Say
from preheat.deploy.target import SERVICE, Clients, Target
from preheat.kernel.errors import PreheatError

ALIAS = "live"
_MADE_BY_US = "preheat "
"""How the descriptions of our versions and of our alias begin: nobody else's are ever deleted."""


@dataclass(frozen=True, slots=True)
class Published:
    """`arn` is the alias's: what the gateway calls."""

    version: str
    arn: str


def publish(
    clients: Clients, target: Target, *, name: str, provisioned: int, reason: str, snap_start: bool, say: Say
) -> Published:
    """Publish $LATEST, wait until the version can serve, move the alias to it, drop the version it served before.

    A version with SnapStart is Active once its snapshot is taken. Returns with `provisioned` environments
    initialised; raises PreheatError 254 with AWS's reason if they cannot be.
    """
    lambda_ = clients.lambda_
    version = lambda_.publish_version(FunctionName=name, Description=f"{_MADE_BY_US}{reason}")["Version"]
    say(f"function {name}: version {version}" + (", taking its snapshot" if snap_start else ""))
    delay_s = 1 if target.local else 5
    waiter = lambda_.get_waiter("published_version_active")
    waiter.wait(FunctionName=name, Qualifier=version, WaiterConfig={"Delay": delay_s, "MaxAttempts": 600 // delay_s})
    before = _alias(clients, name)
    if before is None:
        made_by = f"{_MADE_BY_US}deploy"
        alias_arn = lambda_.create_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version, Description=made_by)[
            "AliasArn"
        ]
    else:
        if not provisioned:  # a version with SnapStart takes no provisioned concurrency, not even from before
            lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=ALIAS)
        alias_arn = lambda_.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)["AliasArn"]
    say(f"function {name}: alias {ALIAS} is version {version}")
    if provisioned:
        _provision(clients, target, name, provisioned, say)
    if before is not None and before["FunctionVersion"] != version:
        _delete_ours(clients, name, before["FunctionVersion"])
    return Published(version, alias_arn)


def withdraw(clients: Clients, name: str) -> None:
    """Leave nothing running (and on AWS nothing billed) of an earlier deployment with a version of its own."""
    lambda_ = clients.lambda_
    alias = _alias(clients, name)
    if alias is None or not alias.get("Description", "").startswith(_MADE_BY_US):
        return
    lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=ALIAS)
    lambda_.delete_alias(FunctionName=name, Name=ALIAS)
    _delete_ours(clients, name, alias["FunctionVersion"])


def _alias(clients: Clients, name: str) -> dict[str, Any] | None:
    try:
        return dict(clients.lambda_.get_alias(FunctionName=name, Name=ALIAS))
    except clients.lambda_.exceptions.ResourceNotFoundException:
        return None


def _delete_ours(clients: Clients, name: str, version: str) -> None:
    lambda_ = clients.lambda_
    if lambda_.get_function_configuration(FunctionName=name, Qualifier=version)["Description"].startswith(_MADE_BY_US):
        lambda_.delete_function(FunctionName=name, Qualifier=version)


def _provision(clients: Clients, target: Target, name: str, count: int, say: Say) -> None:
    lambda_ = clients.lambda_
    say(f"function {name}: initialising {count} provisioned environments")
    lambda_.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=ALIAS, ProvisionedConcurrentExecutions=count
    )
    deadline = time.monotonic() + 600
    while True:
        state = lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier=ALIAS)
        if state["Status"] == "READY":
            return
        if state["Status"] == "FAILED" or time.monotonic() > deadline:
            reason = state.get("StatusReason", "still initialising after 600 s")
            raise PreheatError(f"{name}: provisioned concurrency {count}: {state['Status']}: {reason}", SERVICE)
        time.sleep(0.1 if target.local else 5)
