"""What the groups of operations share."""

from __future__ import annotations

from preheat.services.lambda_.registry import FunctionRegistry


class Operations:
    """A part of the Lambda provider: methods named after operations (`aws.dispatch`)."""

    _registry: FunctionRegistry
