"""What an authorizer's IAM policy says about one request.

Source: developer guide, "Output from an API Gateway Lambda authorizer"; IAM's evaluation logic: an explicit deny wins,
and what nothing allows is denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any

ACTION = "execute-api:Invoke"


class Verdict(Enum):
    ALLOW = "allow"
    DENY = "deny"
    NEITHER = "neither"
    """No statement is about the request: denied, in other words."""


class BadPolicy(Exception):
    """Not a policy document that can be evaluated."""


def evaluate(policy: Any, method_arn: str) -> Verdict:
    """Raises BadPolicy. Statements with conditions are refused: none of the keys they ask for is known here."""
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list):
        raise BadPolicy("no Statement")
    verdict = Verdict.NEITHER
    for statement in statements:
        effect = statement.get("Effect") if isinstance(statement, dict) else None
        if effect not in ("Allow", "Deny"):
            raise BadPolicy(f"Effect {effect!r}")
        if statement.get("Condition"):
            raise BadPolicy("a Condition, which is not built")
        if not _matches(_texts(statement.get("Action")), ACTION, ignore_case=True):
            continue
        if not _matches(_texts(statement.get("Resource")), method_arn):
            continue
        if effect == "Deny":
            return Verdict.DENY
        verdict = Verdict.ALLOW
    return verdict


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise BadPolicy(f"{value!r} is no name or list of names")
    return values


def _matches(patterns: Iterable[str], text: str, *, ignore_case: bool = False) -> bool:
    """IAM's wildcards: `*` for any characters, `?` for one."""
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    for pattern in patterns:
        expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(expression, text, flags):
            return True
    return False
