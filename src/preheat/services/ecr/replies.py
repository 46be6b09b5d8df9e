"""Answers of the distribution API, errors in its own words (distribution-spec 1.1, "Error Codes")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from preheat.kernel.errors import AwsError
from preheat.kernel.http import Headers, HttpResponse

VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")

_TRANSLATED = {
    "RepositoryNotFoundException": (404, "NAME_UNKNOWN"),
    "ImageNotFoundException": (404, "MANIFEST_UNKNOWN"),
    "ImageTagAlreadyExistsException": (400, "TAG_INVALID"),
    "LayersNotFoundException": (400, "MANIFEST_BLOB_UNKNOWN"),
    "ReferencedImagesNotFoundException": (400, "MANIFEST_BLOB_UNKNOWN"),
    "InvalidParameterException": (400, "MANIFEST_INVALID"),
}


def reply(status: int, headers: Headers | None = None, body: bytes = b"") -> HttpResponse:
    return HttpResponse(status, [VERSION, *(headers or [])], body)


def json_reply(value: Any, headers: Headers | None = None, media_type: str = "application/json") -> HttpResponse:
    return reply(200, [("Content-Type", media_type), *(headers or [])], json.dumps(value).encode())


def failure(
    status: int, code: str, message: str, headers: Headers | None = None, detail: Mapping[str, Any] | None = None
) -> HttpResponse:
    error: dict[str, Any] = {"code": code, "message": message}
    if detail:
        error["detail"] = dict(detail)
    body = json.dumps({"errors": [error]}).encode()
    return reply(status, [("Content-Type", "application/json; charset=utf-8"), *(headers or [])], body)


def translated(error: AwsError) -> HttpResponse:
    """One of ECR's errors as Docker gets to see it: the same words under the registry's code."""
    status, code = _TRANSLATED.get(error.code, (error.status, "UNKNOWN"))
    return failure(status, code, error.message)


def unauthorized(host: str) -> HttpResponse:
    """ECR's challenge (FIDELITY: ECR)."""
    challenge = ("Www-Authenticate", f'Basic realm="https://{host}/",service="ecr.amazonaws.com"')
    return reply(401, [challenge, ("Content-Type", "text/plain; charset=utf-8")], b"Not Authorized\n")


def expired() -> HttpResponse:
    """Of a token that has ended (ECR user guide, "Troubleshooting errors with Docker commands", HTTP 403)."""
    return failure(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
