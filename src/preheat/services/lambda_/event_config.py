"""EventInvokeConfig: retries, age and destinations of asynchronous invocations."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.lambda_.attachments import EventInvoke
from preheat.services.lambda_.failures import invalid, not_found
from preheat.services.lambda_.models import LATEST
from preheat.services.lambda_.operations import Operations
from preheat.services.lambda_.pages import page

_DESTINATIONS = frozenset({"lambda", "sqs", "sns", "events", "s3"})
"""Services that a destination may belong to (API reference, DestinationConfig); S3 for failures only."""


class EventConfigOperations(Operations):
    """The part of the Lambda provider that is about asynchronous invocation's settings."""

    def put_function_event_invoke_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._check_given(params)
        name, qualifier = self._existing(params)
        return self._store_config(name, qualifier, self._changed(name, EventInvoke(0), params))

    def update_function_event_invoke_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._check_given(params)
        name, qualifier = self._existing(params)
        return self._store_config(name, qualifier, self._changed(name, self._event_invoke(name, qualifier), params))

    def get_function_event_invoke_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        return self._config_shown(name, qualifier or LATEST, self._event_invoke(name, qualifier or LATEST))

    def delete_function_event_invoke_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        self._event_invoke(name, qualifier or LATEST)
        attached = self._registry.store.attached(name)
        rest = {key: config for key, config in attached.event_invoke.items() if key != (qualifier or LATEST)}
        self._registry.attach(name, replace(attached, event_invoke=rest))
        return {}

    def list_function_event_invoke_configs(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, _ = self._existing({"FunctionName": params["FunctionName"]})
        return page(
            "FunctionEventInvokeConfigs",
            list(self._registry.store.attached(name).event_invoke.items()),
            lambda item: item[0],
            params,
            lambda item: self._config_shown(name, *item),
        )

    def _check_given(self, params: dict[str, Any]) -> None:
        given = (params.get(key) for key in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"))
        if all(value is None for value in given):
            raise invalid("You must specify at least one of error handling or destination setting.")

    def _existing(self, params: dict[str, Any]) -> tuple[str, str]:
        """(name, qualifier) of what exists, with the words these operations have for what does not."""
        try:
            function, qualifier = self._registry.find(params["FunctionName"], params.get("Qualifier"))
        except AwsError as error:
            if error.status == 404:
                raise not_found("The function doesn't exist.") from error
            raise
        return function.name, qualifier or LATEST

    def _event_invoke(self, name: str, qualifier: str) -> EventInvoke:
        config = self._registry.store.attached(name).event_invoke.get(qualifier)
        if config is None:
            arn = self._registry.arn(name)
            raise not_found(f"The function {arn}:{qualifier} doesn't have an EventInvokeConfig")
        return config

    def _changed(self, name: str, config: EventInvoke, params: dict[str, Any]) -> EventInvoke:
        changes: dict[str, Any] = {"modified_ms": int(time.time() * 1000)}
        if params.get("MaximumRetryAttempts") is not None:
            changes["max_retries"] = params["MaximumRetryAttempts"]
        if params.get("MaximumEventAgeInSeconds") is not None:
            changes["max_age_s"] = params["MaximumEventAgeInSeconds"]
        if params.get("DestinationConfig") is not None:
            changes |= self._destinations(name, params["DestinationConfig"])
        return replace(config, **changes)

    def _destinations(self, name: str, config: dict[str, Any]) -> dict[str, str]:
        success = (config.get("OnSuccess") or {}).get("Destination") or ""
        failure = (config.get("OnFailure") or {}).get("Destination") or ""
        for arn in filter(None, (failure, success)):
            if arn.split(":")[2] not in _DESTINATIONS or (arn.split(":")[2] == "s3" and arn == success):
                on_success = f"OnSuccess(destination={success})" if success else "null"
                on_failure = f"OnFailure(destination={failure})" if failure else "null"
                raise invalid(
                    "The provided destination config DestinationConfig("
                    f"onSuccess={on_success}, onFailure={on_failure}) is invalid."
                )
            if arn.split(":")[2] == "lambda":
                self._check_function(name, arn)
        return {"on_success": success, "on_failure": failure}

    def _check_function(self, name: str, arn: str) -> None:
        try:
            target, _ = self._registry.find(arn)
        except AwsError as error:
            raise invalid(f"The destination ARN {arn} is invalid.") from error
        if target.name == name:
            raise invalid("You can't specify the function as a destination for itself.")

    def _store_config(self, name: str, qualifier: str, config: EventInvoke) -> dict[str, Any]:
        attached = self._registry.store.attached(name)
        self._registry.attach(name, replace(attached, event_invoke={**attached.event_invoke, qualifier: config}))
        return self._config_shown(name, qualifier, config)

    def _config_shown(self, name: str, qualifier: str, config: EventInvoke) -> dict[str, Any]:
        return {
            "LastModified": datetime.fromtimestamp(config.modified_ms / 1000, UTC),
            "FunctionArn": f"{self._registry.arn(name)}:{qualifier}",
            "MaximumRetryAttempts": config.max_retries,
            "MaximumEventAgeInSeconds": config.max_age_s,
            "DestinationConfig": {
                "OnSuccess": {"Destination": config.on_success} if config.on_success else {},
                "OnFailure": {"Destination": config.on_failure} if config.on_failure else {},
            },
        }
