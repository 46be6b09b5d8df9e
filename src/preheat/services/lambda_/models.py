"""What one version of a function is at rest, and how it looks on the wire and to those who run it."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preheat.kernel.function import FunctionVersion
from preheat.kernel.image import ImageProgram, ResolvedImage
from preheat.kernel.runtimes import is_custom, runtime_version

LATEST = "$LATEST"
BEING_CREATED = "The function is being created."
"""StateReason and LastUpdateStatusReason of a real function meanwhile, code `Creating` (recorded on AWS)."""


@dataclass(frozen=True, slots=True)
class LayerUse:
    """A layer version as a function holds it, also after the layer version itself is deleted."""

    arn: str
    code_sha256: str
    code_size: int


@dataclass(frozen=True, slots=True)
class Function:
    """One version of a function as stored ($LATEST or a number): configuration and state. Never changed in place.

    Defaults are AWS's own. `code_sha256` is base64 as on the wire. `revision_id` is what the API shows; AWS
    renews it with every change of anything, the state included. `pool_id` names the environments that may
    serve: it is renewed with code and configuration only. A published version keeps in `published_from` the
    pool_id that $LATEST had. An image function has `image` and no runtime, handler or code; its `image_config`
    is by the API's member names, and its `code_sha256` the image's digest in hex.
    """

    name: str
    arn: str
    role: str
    revision_id: str
    pool_id: str
    last_modified: str
    runtime: str = ""
    handler: str = ""
    image: ResolvedImage | None = None
    image_uri: str = ""
    image_config: dict[str, Any] = field(default_factory=dict)
    version: str = LATEST
    published_from: str = ""
    code_sha256: str = ""
    code_size: int = 0
    description: str = ""
    memory_mb: int = 128
    timeout_s: int = 3
    environment: dict[str, str] | None = None
    ephemeral_storage_mb: int = 512
    architectures: list[str] = field(default_factory=lambda: ["x86_64"])
    layers: list[LayerUse] = field(default_factory=list)
    dead_letter_arn: str = ""
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

    @property
    def code_id(self) -> str:
        """The code's key in the code store: its SHA-256 in hex."""
        return code_id(self.code_sha256)

    @property
    def code_ids(self) -> list[str]:
        """Of the code and of every layer; none of an image."""
        return [] if self.image else [self.code_id, *(code_id(layer.code_sha256) for layer in self.layers)]

    @property
    def package_type(self) -> str:
        return "Image" if self.image else "Zip"

    @property
    def has_snapshot(self) -> bool:
        """SnapStart concerns published versions only."""
        return self.version != LATEST and self.snap_start == "PublishedVersions" and not is_custom(self.runtime)

    @property
    def log_group(self) -> str:
        return self.logging.get("LogGroup") or f"/aws/lambda/{self.name}"

    @property
    def log_format(self) -> str:
        return self.logging.get("LogFormat", "Text")


def code_id(sha256: str) -> str:
    return base64.b64decode(sha256).hex()


def new_id() -> str:
    return str(uuid.uuid4())


def touched(function: Function) -> Function:
    """The same under a new revision id, as AWS gives it for changes around code and configuration."""
    return replace(function, revision_id=new_id())


def revised(function: Function, fields: dict[str, Any]) -> Function:
    """A new revision of a function's code or configuration, for new environments."""
    return replace(function, **fields, revision_id=new_id(), pool_id=new_id(), last_modified=last_modified_now())


def active(function: Function) -> Function:
    """The function once its code is ready, be it new or updated."""
    return replace(
        touched(function),
        state="Active",
        state_reason="",
        state_reason_code="",
        update_status="Successful",
        update_reason="",
        update_reason_code="",
    )


def updating(function: Function) -> Function:
    return replace(function, update_status="InProgress", update_reason=BEING_CREATED, update_reason_code="Creating")


def published(latest: Function, number: int, description: str | None) -> Function:
    """A version as it is published, still Pending."""
    return replace(
        latest,
        version=str(number),
        published_from=latest.pool_id,
        pool_id=new_id(),
        revision_id=new_id(),
        last_modified=last_modified_now(),
        description=latest.description if description is None else description,
        state="Pending",
        state_reason=BEING_CREATED,
        state_reason_code="Creating",
        update_status="",
        update_reason="",
        update_reason_code="",
    )


def create_failed(function: Function, reason: str, code: str) -> Function:
    return replace(touched(function), state="Failed", state_reason=reason, state_reason_code=code)


def update_failed(function: Function, reason: str, code: str) -> Function:
    return replace(touched(function), update_status="Failed", update_reason=reason, update_reason_code=code)


def last_modified_now() -> str:
    """2026-01-01T00:00:00.000+0000, as the Lambda API writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def configuration(function: Function, qualifier: str | None = None) -> dict[str, Any]:
    """FunctionConfiguration as GetFunctionConfiguration gives it; members AWS leaves out are left out.

    `qualifier` is what the request named and the ARN shows. The runtime version is ours, as in INIT_START.
    """
    logging = {"LogFormat": function.log_format, **function.logging, "LogGroup": function.log_group}
    optimised = function.has_snapshot and function.state == "Active"
    shown: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": f"{function.arn}:{qualifier}" if qualifier else function.arn,
        "Runtime": function.runtime or None,
        "Role": function.role,
        "Handler": function.handler or None,
        "CodeSize": function.code_size,
        "Description": function.description,
        "Timeout": function.timeout_s,
        "MemorySize": function.memory_mb,
        "LastModified": function.last_modified,
        "CodeSha256": function.code_sha256,
        "Version": function.version,
        "Environment": None if function.environment is None else {"Variables": function.environment},
        "KMSKeyArn": function.kms_key_arn or None,
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision_id,
        "Layers": [{"Arn": use.arn, "CodeSize": use.code_size} for use in function.layers] or None,
        "DeadLetterConfig": {"TargetArn": function.dead_letter_arn} if function.dead_letter_arn else None,
        "State": function.state,
        "StateReason": function.state_reason or None,
        "StateReasonCode": function.state_reason_code or None,
        "LastUpdateStatus": function.update_status or None,
        "LastUpdateStatusReason": function.update_reason or None,
        "LastUpdateStatusReasonCode": function.update_reason_code or None,
        "PackageType": function.package_type,
        "ImageConfigResponse": {"ImageConfig": function.image_config} if function.image_config else None,
        "Architectures": function.architectures,
        "EphemeralStorage": {"Size": function.ephemeral_storage_mb},
        "SnapStart": {"ApplyOn": function.snap_start, "OptimizationStatus": "On" if optimised else "Off"},
        "RuntimeVersionConfig": None if function.image else _runtime_version(function),
        "LoggingConfig": logging,
    }
    return {member: value for member, value in shown.items() if value is not None}


def _runtime_version(function: Function) -> dict[str, str]:
    return {"RuntimeVersionArn": runtime_version(function.runtime, function.arn.split(":")[3])[1]}


_NOT_LISTED = frozenset(
    [
        "RuntimeVersionConfig",
        "State",
        "StateReason",
        "StateReasonCode",
        "LastUpdateStatus",
        "LastUpdateStatusReason",
        "LastUpdateStatusReasonCode",
    ]
)
"""ListFunctions gives a subset (API reference: "To get the additional fields ... use GetFunction")."""


def listed(function: Function, *, qualified: bool = False) -> dict[str, Any]:
    """One item of ListFunctions or ListVersionsByFunction."""
    shown = configuration(function, function.version if qualified else None)
    return {member: value for member, value in shown.items() if member not in _NOT_LISTED}


def runnable(
    function: Function,
    directories: Sequence[Path],
    program: ImageProgram | None,
    reserved: int | None,
    region: str,
    account_id: str,
) -> FunctionVersion:
    """What environments run of this version: `directories` of code and layers, or the `program` of an image.

    `reserved` is the function's reserved concurrency.
    """
    code_dir, *layer_dirs = map(str, directories or [Path()])
    if program is not None:
        code_dir, layer_dirs = (program.working_dir, list(program.layers)) if program.runtime else ("", [])
    return FunctionVersion(
        name=function.name,
        version=function.version,
        arn=function.arn,
        revision_id=function.pool_id,
        runtime=program.runtime if program else function.runtime,
        handler=function.handler,
        code_dir=code_dir,
        memory_mb=function.memory_mb,
        timeout_s=function.timeout_s,
        environment=function.environment or {},
        region=region,
        account_id=account_id,
        role=function.role,
        log_group=function.log_group,
        log_format=function.log_format,
        application_log_level=function.logging.get("ApplicationLogLevel", ""),
        system_log_level=function.logging.get("SystemLogLevel", ""),
        ephemeral_storage_mb=function.ephemeral_storage_mb,
        reserved_concurrency=reserved,
        snap_start=function.has_snapshot,
        layer_dirs=tuple(layer_dirs),
        image=program,
    )
