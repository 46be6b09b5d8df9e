"""What a function is at rest, and how it looks on the wire and to those who run it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preheat.kernel.function import FunctionVersion

LATEST = "$LATEST"
BEING_CREATED = "The function is being created."
"""StateReason and LastUpdateStatusReason of a real function meanwhile, code `Creating` (recorded on AWS)."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function as stored: its configuration, its state, and what hangs on it. Never changed in place.

    Defaults are AWS's own. `code_sha256` is base64 as on the wire. `revision_id` changes with every update
    of code or configuration, and with nothing else.
    """

    name: str
    arn: str
    role: str
    runtime: str
    handler: str
    revision_id: str
    last_modified: str
    code_sha256: str = ""
    code_size: int = 0
    description: str = ""
    memory_mb: int = 128
    timeout_s: int = 3
    environment: dict[str, str] = field(default_factory=dict)
    ephemeral_storage_mb: int = 512
    architectures: list[str] = field(default_factory=lambda: ["x86_64"])
    logging: dict[str, str] = field(default_factory=dict)
    tracing_mode: str = "PassThrough"
    kms_key_arn: str = ""
    snap_start: str = "None"
    state: str = "Pending"
    state_reason: str = BEING_CREATED
    state_reason_code: str = "Creating"
    update_status: str = ""
    update_reason: str = ""
    update_reason_code: str = ""
    reserved_concurrency: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    policy: list[dict[str, Any]] = field(default_factory=list)
    policy_revision_id: str = ""

    @property
    def code_id(self) -> str:
        """The code's key in the code store: its SHA-256 in hex."""
        return base64.b64decode(self.code_sha256).hex()

    @property
    def log_group(self) -> str:
        return self.logging.get("LogGroup") or f"/aws/lambda/{self.name}"

    @property
    def log_format(self) -> str:
        return self.logging.get("LogFormat", "Text")


def active(function: Function) -> Function:
    """The function once its code is ready, be it new or updated."""
    return replace(
        function,
        state="Active",
        state_reason="",
        state_reason_code="",
        update_status="Successful",
        update_reason="",
        update_reason_code="",
    )


def updating(function: Function) -> Function:
    return replace(function, update_status="InProgress", update_reason=BEING_CREATED, update_reason_code="Creating")


def create_failed(function: Function, reason: str, code: str) -> Function:
    return replace(function, state="Failed", state_reason=reason, state_reason_code=code)


def update_failed(function: Function, reason: str, code: str) -> Function:
    return replace(function, update_status="Failed", update_reason=reason, update_reason_code=code)


def last_modified_now() -> str:
    """2026-01-01T00:00:00.000+0000, as the Lambda API writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def configuration(function: Function, *, qualified: bool = False) -> dict[str, Any]:
    """FunctionConfiguration as GetFunctionConfiguration gives it; members AWS leaves out are left out.

    RuntimeVersionConfig is absent: there is no AWS runtime version to name here.
    """
    logging = {"LogFormat": function.log_format, **function.logging, "LogGroup": function.log_group}
    shown: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": f"{function.arn}:{LATEST}" if qualified else function.arn,
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.code_size,
        "Description": function.description,
        "Timeout": function.timeout_s,
        "MemorySize": function.memory_mb,
        "LastModified": function.last_modified,
        "CodeSha256": function.code_sha256,
        "Version": LATEST,
        "Environment": {"Variables": function.environment} if function.environment else None,
        "KMSKeyArn": function.kms_key_arn or None,
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision_id,
        "State": function.state,
        "StateReason": function.state_reason or None,
        "StateReasonCode": function.state_reason_code or None,
        "LastUpdateStatus": function.update_status or None,
        "LastUpdateStatusReason": function.update_reason or None,
        "LastUpdateStatusReasonCode": function.update_reason_code or None,
        "PackageType": "Zip",
        "Architectures": function.architectures,
        "EphemeralStorage": {"Size": function.ephemeral_storage_mb},
        "SnapStart": {"ApplyOn": function.snap_start, "OptimizationStatus": "Off"},
        "LoggingConfig": logging,
    }
    return {member: value for member, value in shown.items() if value is not None}


_NOT_LISTED = frozenset(
    [
        "State",
        "StateReason",
        "StateReasonCode",
        "LastUpdateStatus",
        "LastUpdateStatusReason",
        "LastUpdateStatusReasonCode",
    ]
)
"""ListFunctions gives a subset (API reference: "To get the additional fields ... use GetFunction")."""


def listed(function: Function) -> dict[str, Any]:
    """One item of ListFunctions, whose ARNs are unqualified."""
    return {member: value for member, value in configuration(function).items() if member not in _NOT_LISTED}


def runnable(function: Function, code_dir: Path, region: str, account_id: str) -> FunctionVersion:
    """The revision of this function that environments run."""
    return FunctionVersion(
        name=function.name,
        version=LATEST,
        arn=function.arn,
        revision_id=function.revision_id,
        runtime=function.runtime,
        handler=function.handler,
        code_dir=str(code_dir),
        memory_mb=function.memory_mb,
        timeout_s=function.timeout_s,
        environment=function.environment,
        region=region,
        account_id=account_id,
        log_group=function.log_group,
        log_format=function.log_format,
        ephemeral_storage_mb=function.ephemeral_storage_mb,
        reserved_concurrency=function.reserved_concurrency,
    )
