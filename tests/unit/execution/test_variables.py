"""The variables that an environment starts with, where the function's configuration decides."""

from __future__ import annotations

from dataclasses import replace

from preheat.execution.variables import ON_DEMAND, runtime_variables
from preheat.kernel.credentials import role_session
from preheat.kernel.function import FunctionVersion

ROLE = "arn:aws:iam::000000000000:role/LabRole"
IRIS = FunctionVersion("iris", "1", "arn", "r", "python3.11", "f.handler", "/code", role=ROLE)


def variables(function: FunctionVersion = IRIS) -> dict[str, str]:
    return runtime_variables(function, "stream", "http://localhost", ON_DEMAND)


def test_credentials_are_of_a_session_of_the_functions_role() -> None:
    first, second = variables(), variables()
    assert role_session(first["AWS_SESSION_TOKEN"]) == (ROLE, "iris")
    assert first["AWS_ACCESS_KEY_ID"] != second["AWS_ACCESS_KEY_ID"]


def test_the_log_format_is_named_only_where_it_is_json() -> None:
    assert "AWS_LAMBDA_LOG_FORMAT" not in variables()
    assert variables(replace(IRIS, log_format="JSON"))["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
