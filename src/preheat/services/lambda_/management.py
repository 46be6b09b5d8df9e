"""Settings of a function that are stored and shown only: runtime updates, recursive loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.lambda_.attachments import RuntimeUpdates
from preheat.services.lambda_.failures import invalid
from preheat.services.lambda_.models import LATEST
from preheat.services.lambda_.operations import Operations


class ManagementOperations(Operations):
    """The part of the Lambda provider about what AWS manages: no runtime is ever updated and no loop ended here."""

    def get_function_recursion_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.function(params["FunctionName"])
        return {"RecursiveLoop": self._registry.store.attached(function.name).recursive_loop}

    def put_function_recursion_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.function(params["FunctionName"])
        attached = self._registry.store.attached(function.name)
        self._registry.attach(function.name, replace(attached, recursive_loop=params["RecursiveLoop"]))
        return {"RecursiveLoop": params["RecursiveLoop"]}

    def get_runtime_management_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, version = self._managed(params)
        return self._updates_shown(name, version)

    def put_runtime_management_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, version = self._managed(params)
        mode, arn = params["UpdateRuntimeOn"], params.get("RuntimeVersionArn")
        if (mode == "Manual") != bool(arn):  # words unverified
            rule = "needs a RuntimeVersionArn" if mode == "Manual" else "takes no RuntimeVersionArn"
            raise invalid(f"UpdateRuntimeOn {mode} {rule}.")
        attached = self._registry.store.attached(name)
        updates = {**attached.runtime_updates, version: RuntimeUpdates(mode, arn)}
        self._registry.attach(name, replace(attached, runtime_updates=updates))
        return self._updates_shown(name, version)

    def _managed(self, params: dict[str, Any]) -> tuple[str, str]:
        function, _ = self._registry.find(params["FunctionName"], params.get("Qualifier"))
        return function.name, function.version

    def _updates_shown(self, name: str, version: str) -> dict[str, Any]:
        updates = self._registry.store.attached(name).runtime_updates.get(version, RuntimeUpdates())
        return {
            "UpdateRuntimeOn": updates.mode,
            "FunctionArn": f"{self._registry.arn(name)}:{version}" if version != LATEST else self._registry.arn(name),
            "RuntimeVersionArn": updates.runtime_version_arn,
        }
