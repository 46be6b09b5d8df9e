"""Error payloads and lines that the platform, not the function, writes (FIDELITY.md, "Error payloads")."""

from __future__ import annotations

import signal

import msgspec

from preheat.kernel import runtimes
from preheat.kernel.function import FunctionVersion

MAX_RESPONSE_BYTES = 6_291_556
"""The largest response a function may give: 6 MB and 100 bytes."""
MAX_STREAM_BYTES = 200 * 2**20
"""The largest response that a function may stream (Lambda quotas, since July 2025; 20 MB before)."""


def error(error_type: str, message: str) -> bytes:
    return msgspec.json.encode({"errorType": error_type, "errorMessage": message})


def timed_out(request_id: str, limit_s: float) -> bytes:
    return error("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {limit_s:.2f} seconds")


def exit_reason(code: int, error_type: str = "Runtime.ExitError") -> str:
    """`code` as subprocess gives it: exit status, or minus the signal's number."""
    if error_type == "Runtime.OutOfMemory":
        code = -signal.SIGKILL
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    names = {signal.SIGKILL: "killed", signal.SIGTERM: "terminated", signal.SIGABRT: "aborted"}
    names |= {signal.SIGSEGV: "segmentation fault", signal.SIGBUS: "bus error"}
    return f"Runtime exited with error: signal: {names.get(signal.Signals(-code), f'signal {-code}')}"


def exit_error(request_id: str, code: int, error_type: str = "Runtime.ExitError") -> bytes:
    return error(error_type, f"RequestId: {request_id} Error: {exit_reason(code, error_type)}")


def with_request_id(body: bytes, request_id: str) -> bytes:
    """The platform's own init error, as the answer to a request; the runtime's own as it is."""
    kind, message = error_type(body) or "", error_message(body) or ""
    if not kind.startswith(("Runtime.InvalidEntrypoint", "Extension.")):
        return body
    return error(kind, f"RequestId: {request_id} Error: {message}")


def response_too_large(limit: int = MAX_RESPONSE_BYTES) -> bytes:
    message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return error("Function.ResponseSizeTooLarge", message)


class _Typed(msgspec.Struct):
    errorType: str = ""
    errorMessage: str = ""


_typed = msgspec.json.Decoder(_Typed)


def error_type(body: bytes) -> str | None:
    """The errorType of an error payload, None where it has none."""
    try:
        return _typed.decode(body).errorType or None
    except msgspec.DecodeError:
        return None


def error_message(body: bytes) -> str | None:
    """The errorMessage of an error payload, None where it has none."""
    try:
        return _typed.decode(body).errorMessage or None
    except msgspec.DecodeError:
        return None


def runtime_version(function: FunctionVersion) -> tuple[str, str]:
    """(version, ARN) as INIT_START shows them."""
    return runtimes.runtime_version(function.runtime, function.region)
