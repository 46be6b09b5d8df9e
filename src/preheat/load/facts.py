"""What Lambda tells of the function that is to be loaded: for run.json, so that a report can be exact about it."""

from __future__ import annotations

from typing import Any


def function_facts(client: Any, function: str, qualifier: str | None) -> dict[str, Any]:
    """`version`, `memory_mb`, `timeout_s`, `runtime`, `architecture`, `package_type`, and of an image `image_uri`
    as it was deployed and `image_digest` as Lambda resolved it (GetFunction's `Code.ResolvedImageUri`); what it does
    not tell is left out. `client` is a boto3 Lambda client, whose errors are raised.
    """
    answer = client.get_function(FunctionName=function, **({"Qualifier": qualifier} if qualifier else {}))
    configuration, code = answer.get("Configuration", {}), answer.get("Code", {})
    resolved = str(code.get("ResolvedImageUri") or "")
    found = {
        "version": configuration.get("Version"),
        "memory_mb": configuration.get("MemorySize"),
        "timeout_s": configuration.get("Timeout"),
        "runtime": configuration.get("Runtime"),
        "architecture": next(iter(configuration.get("Architectures") or ()), None),
        "package_type": configuration.get("PackageType"),
        "image_uri": code.get("ImageUri"),
        "image_digest": resolved.partition("@")[2] or None,
    }
    return {name: value for name, value in found.items() if value is not None}
