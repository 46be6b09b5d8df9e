"""Provisioned concurrency: environments kept initialised for a version, by its number or by an alias."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion
from preheat.services.lambda_.access import MIN_UNRESERVED, AccessOperations
from preheat.services.lambda_.attachments import Attached, Provisioned
from preheat.services.lambda_.failures import conflict, invalid
from preheat.services.lambda_.models import LATEST
from preheat.services.lambda_.pages import page
from preheat.services.lambda_.registry import FunctionRegistry


class Provisioning:
    """Tells the invoker what the stored configurations ask for, version by version."""

    def __init__(self, registry: FunctionRegistry) -> None:
        self._registry = registry
        self._asked: dict[str, int] = {}

    def start(self) -> None:
        for function in self._registry.store:
            self.apply(function.name)

    def apply(self, name: str, anew: str = "") -> None:
        """Bring every serving version of a function to the number its configurations ask for.

        The version `anew` is told even where the number is the same: it may have failed before.
        """
        attached = self._registry.store.attached(name)
        for version in self._registry.serving.versions(name):
            wanted = sum(
                each.requested
                for qualifier, each in attached.provisioned.items()
                if target(attached, qualifier) == version.version
            )
            if wanted != self._asked.get(version.revision_id, 0) or (wanted and version.version == anew):
                self._asked[version.revision_id] = wanted
                self._registry.invoker.provision(version, wanted)

    def state(self, name: str, qualifier: str) -> dict[str, Any]:
        """The numbers, Status and StatusReason of one configuration.

        Where a version is provisioned through several aliases, what is initialised counts for the first of
        them in the order of their names.
        """
        attached = self._registry.store.attached(name)
        requested = attached.provisioned[qualifier].requested
        version = self._registry.serving.version(name, target(attached, qualifier))
        ready, _, failure = self._registry.invoker.provisioned(version) if version else (0, 0, None)
        for other in sorted(attached.provisioned):
            if other != qualifier and other < qualifier and target(attached, other) == target(attached, qualifier):
                ready -= attached.provisioned[other].requested
        ready = max(0, min(ready, requested))
        shown: dict[str, Any] = {
            "RequestedProvisionedConcurrentExecutions": requested,
            "AvailableProvisionedConcurrentExecutions": ready,
            "AllocatedProvisionedConcurrentExecutions": ready,
            "Status": "READY" if ready == requested else "FAILED" if failure else "IN_PROGRESS",
            "LastModified": attached.provisioned[qualifier].modified,
        }
        if shown["Status"] == "FAILED":
            shown["StatusReason"] = failure
        return shown


def target(attached: Attached, qualifier: str) -> str:
    """The version behind a version's number or an alias (its main one: the second of a weighted alias gets none)."""
    alias = attached.aliases.get(qualifier)
    return alias.version if alias else qualifier


class ProvisionedOperations(AccessOperations):
    """The part of the Lambda provider that is about provisioned concurrency."""

    _provisioning: Provisioning

    def put_provisioned_concurrency_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        if params["Qualifier"] == LATEST:
            raise _unpublished()
        name, qualifier, version = self._provisionable(params)
        wanted = params["ProvisionedConcurrentExecutions"]
        attached = self._registry.store.attached(name)
        if target(attached, qualifier) == LATEST:
            raise _unpublished()
        if version.snap_start:
            raise invalid("Provisioned Concurrency is not supported for SnapStart enabled functions.")  # unverified
        self._check_limits(attached, qualifier, wanted)
        _check_overlap(attached, qualifier)
        made = Provisioned(wanted, _now())
        self._registry.attach(name, replace(attached, provisioned={**attached.provisioned, qualifier: made}))
        self._provisioning.apply(name, anew=version.version)
        return {**self._provisioning.state(name, qualifier), "Status": "IN_PROGRESS"}

    def _check_limits(self, attached: Attached, qualifier: str, wanted: int) -> None:
        others = sum(each.requested for key, each in attached.provisioned.items() if key != qualifier)
        if attached.reserved_concurrency is not None:
            if others + wanted > attached.reserved_concurrency:
                raise invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
                    "for function"
                )
            return
        before = attached.provisioned[qualifier].requested if qualifier in attached.provisioned else 0
        unreserved = self._account_concurrency - self._reserved() + before
        if wanted > unreserved:
            raise invalid(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                f"[{unreserved}].",
                typed=False,
            )
        if unreserved - wanted < MIN_UNRESERVED:
            raise invalid(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{MIN_UNRESERVED}].",
                typed=False,
            )

    def get_provisioned_concurrency_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = self._configured(params)
        if qualifier not in self._registry.store.attached(name).provisioned:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                404,
            )
        return self._provisioning.state(name, qualifier)

    def list_provisioned_concurrency_configs(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name = self._registry.function(params["FunctionName"]).name
        return page(
            "ProvisionedConcurrencyConfigs",
            list(self._registry.store.attached(name).provisioned),
            str,
            params,
            lambda qualifier: {
                "FunctionArn": f"{self._registry.arn(name)}:{qualifier}",
                **self._provisioning.state(name, qualifier),
            },
        )

    def delete_provisioned_concurrency_config(
        self, context: OperationContext, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Deleting what is not there is no error (recorded on AWS)."""
        name, qualifier = self._configured(params)
        attached = self._registry.store.attached(name)
        rest = {key: each for key, each in attached.provisioned.items() if key != qualifier}
        self._registry.attach(name, replace(attached, provisioned=rest))
        self._provisioning.apply(name)
        return {}

    def _configured(self, params: dict[str, Any]) -> tuple[str, str]:
        """(function's name, qualifier) of a request about a version or alias that exists."""
        if params["Qualifier"] == LATEST:
            raise invalid("The function resource provided must be an alias or a published version.")
        function, _ = self._registry.find_resource(params["FunctionName"], params["Qualifier"])
        return function.name, params["Qualifier"]

    def _provisionable(self, params: dict[str, Any]) -> tuple[str, str, FunctionVersion]:
        name, qualifier = self._configured(params)
        return name, qualifier, self._registry.resolve(name, qualifier)


def _check_overlap(attached: Attached, qualifier: str) -> None:
    """A version is provisioned either by its number or through aliases."""
    alias = attached.aliases.get(qualifier)
    if alias is not None and alias.version in attached.provisioned:
        raise conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )
    pointing = (other for other in attached.aliases.values() if other.version == qualifier)
    if any(other.name in attached.provisioned for other in pointing):
        raise conflict("Version is pointed by a Provisioned Concurrency alias")


def _unpublished() -> AwsError:
    return invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")


def _now() -> str:
    """2026-01-01T00:00:00+0000, as the API reference shows LastModified here."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
