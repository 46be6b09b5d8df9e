"""What the groups of operations share."""

from __future__ import annotations

from preheat.aws.context import OperationContext
from preheat.kernel.settings import Settings
from preheat.services.lambda_.registry import FunctionRegistry


class Operations:
    """A part of the Lambda provider: methods named after operations (`aws.dispatch`)."""

    _registry: FunctionRegistry
    _settings: Settings

    def _own_host(self, context: OperationContext) -> str:
        """host:port by which this client reached us."""
        return context.http.header("host") or f"{self._settings.host}:{self._settings.port}"

    def _location(self, context: OperationContext, code_id: str) -> str:
        """Where a code package can be downloaded."""
        return f"http://{self._own_host(context)}/_preheat/code/{code_id}.zip"
