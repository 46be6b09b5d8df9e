"""Code signing configurations: stored, shown and attached. No signature is ever checked."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.lambda_.attachments import SigningConfig
from preheat.services.lambda_.failures import conflict, not_found
from preheat.services.lambda_.models import last_modified_now
from preheat.services.lambda_.operations import Operations
from preheat.services.lambda_.pages import page

_ID = string.ascii_lowercase + string.digits


class SigningOperations(Operations):
    """The part of the Lambda provider that is about code signing."""

    def create_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        config_id = f"csc-{''.join(random.choices(_ID, k=17))}"
        config = SigningConfig(
            id=config_id,
            arn=f"arn:aws:lambda:{context.region}:{context.account_id}:code-signing-config:{config_id}",
            publishers=params["AllowedPublishers"]["SigningProfileVersionArns"],
            policy=(params.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment") or "Warn",
            modified=last_modified_now(),
            description=params.get("Description") or "",
        )
        self._registry.store.put_signing_config(config)
        return {"CodeSigningConfig": _shown(config)}

    def get_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"CodeSigningConfig": _shown(self._signing_config(params))}

    def update_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        config = self._signing_config(params)
        changes: dict[str, Any] = {"modified": last_modified_now()}
        if params.get("Description") is not None:
            changes["description"] = params["Description"]
        if params.get("AllowedPublishers"):
            changes["publishers"] = params["AllowedPublishers"]["SigningProfileVersionArns"]
        if params.get("CodeSigningPolicies"):
            changes["policy"] = params["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"]
        config = replace(config, **changes)
        self._registry.store.put_signing_config(config)
        return {"CodeSigningConfig": _shown(config)}

    def delete_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        config = self._signing_config(params)
        users = self._signed(config.arn)
        if users:  # words unverified
            raise conflict(
                f"The code signing configuration is in use by {len(users)} function(s), first by {users[0]}."
            )
        self._registry.store.delete_signing_config(config.id)
        return {}

    def list_code_signing_configs(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        configs = self._registry.store.signing_configs
        return page("CodeSigningConfigs", configs, lambda config: config.id, params, _shown)

    def list_functions_by_code_signing_config(
        self, context: OperationContext, params: dict[str, Any]
    ) -> dict[str, Any]:
        return page("FunctionArns", self._signed(self._signing_config(params).arn), str, params, str)

    # of a function

    def put_function_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        arn = self._signing_used(params["CodeSigningConfigArn"])
        function = self._registry.function(params["FunctionName"])
        self._attach_signing(function.name, arn)
        return {"CodeSigningConfigArn": arn, "FunctionName": function.name}

    def get_function_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        function = self._registry.function(params["FunctionName"])
        arn = self._registry.store.attached(function.name).code_signing
        return {"CodeSigningConfigArn": arn, "FunctionName": function.name} if arn else {}

    def delete_function_code_signing_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Deleting what is not there is no error (recorded on AWS)."""
        self._attach_signing(self._registry.function(params["FunctionName"]).name, "")
        return {}

    def _attach_signing(self, name: str, arn: str) -> None:
        self._registry.attach(name, replace(self._registry.store.attached(name), code_signing=arn))

    def _signing_used(self, arn: str) -> str:
        """Of a configuration that a function is to have."""
        if any(config.arn == arn for config in self._registry.store.signing_configs):
            return arn
        raise AwsError(
            "CodeSigningConfigNotFoundException",
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
            f"{arn}.",
            404,
        )

    def _signing_config(self, params: dict[str, Any]) -> SigningConfig:
        arn = params["CodeSigningConfigArn"]
        for config in self._registry.store.signing_configs:
            if config.arn == arn:
                return config
        raise not_found(f"The Lambda code signing configuration {arn} can not be found.", typed=False)

    def _signed(self, arn: str) -> list[str]:
        store = self._registry.store
        return [function.arn for function in store if store.attached(function.name).code_signing == arn]


def _shown(config: SigningConfig) -> dict[str, Any]:
    return {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": config.arn,
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": config.publishers},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": config.modified,
    }
