"""What a function's or a layer's package is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preheat.kernel.errors import AwsError
from preheat.services.lambda_.failures import invalid

HOT_RELOAD_BUCKET = "hot-reload"
"""The bucket name by which local emulators' users give a directory instead of a zip."""


def source(code: dict[str, Any]) -> bytes | Path:
    """What to make the package from: the zip's bytes, or a directory's path."""
    if "ZipFile" in code:
        return bytes(code["ZipFile"])
    if code.get("S3Bucket") == HOT_RELOAD_BUCKET:
        return Path(code.get("S3Key") or "")
    if code.get("S3Bucket"):
        raise AwsError(
            "InvalidParameterValueException",
            f"Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: there is no S3 here, so "
            f"bucket {code['S3Bucket']!r} does not exist; upload a ZipFile, or give a directory as "
            f"S3Bucket={HOT_RELOAD_BUCKET},S3Key=<absolute directory>",
        )
    raise invalid("Please provide a source for function code.")
