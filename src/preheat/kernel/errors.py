"""The one error type that crosses floors: an answer AWS documents, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    """A modelled service error.

    `code` is the name on the wire (`x-amzn-ErrorType`), `status` the HTTP status, `fields` further
    members of the error's shape (for example `Reason`). `fault` is "User" or "Service": the Lambda API
    shows it as `Type` in the body, and some of its answers have none ("").
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        *,
        fault: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fault = ("User" if status < 500 else "Service") if fault is None else fault
        self.fields: Mapping[str, Any] = fields or {}


class PreheatError(Exception):
    """Bad input or a bad machine, told to a person in one line; `exit_code` as docs/reference.md lists."""

    def __init__(self, message: str, exit_code: int = 255) -> None:
        super().__init__(message)
        self.exit_code = exit_code
