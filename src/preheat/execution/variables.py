"""The environment variables a runtime starts with (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""

from __future__ import annotations

from preheat.kernel.credentials import function_credentials
from preheat.kernel.function import FunctionVersion
from preheat.kernel.runtimes import is_custom

ON_DEMAND, PROVISIONED, SNAP_START = "on-demand", "provisioned-concurrency", "snap-start"
"""AWS_LAMBDA_INITIALIZATION_TYPE, as AWS has it."""

_XRAY = {
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
}
"""Of a daemon that is not there: what is sent to it (UDP) is lost. AWS's is at a link-local address."""


def runtime_variables(function: FunctionVersion, log_stream: str, endpoint_url: str, init_type: str) -> dict[str, str]:
    """The function's own variables with AWS's reserved ones over them.

    The credentials are of a session of the function's role, new with every call; AWS_ENDPOINT_URL leads boto3 inside a
    handler back to the local cloud unless the function sets another. An image's own variables stand below the
    function's; AWS_EXECUTION_ENV is not set for it (the guide says so: its start script sets it), nor for a custom
    runtime ("not defined for OS-only runtimes"), nor SHLVL. What names directories is the guest's to set.
    """
    image = function.image
    managed = {"AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}", "SHLVL": "0"}
    if is_custom(function.runtime):
        managed = {}
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        **(image.environ if image is not None else managed),
        "TZ": ":UTC",
        **_XRAY,
        **function.environment,
        "_HANDLER": function.handler or (image.command[-1] if image is not None else ""),
        **function_credentials(function.role, function.name),
        "AWS_DEFAULT_REGION": function.region,
        "AWS_REGION": function.region,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": init_type,
        # not set for Text (recorded on AWS); awslambdaric takes that for its default
        **({"AWS_LAMBDA_LOG_FORMAT": function.log_format} if function.log_format != "Text" else {}),
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        **({"AWS_LAMBDA_LOG_LEVEL": function.application_log_level} if function.application_log_level else {}),
    }
