"""Event source mappings: there are none here, and every question about them is answered so."""

from __future__ import annotations

from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.lambda_.failures import invalid, not_built, not_found
from preheat.services.lambda_.operations import Operations

_STREAMS = frozenset({"kinesis", "dynamodb", "kafka"})


class EventSourceOperations(Operations):
    """The part of the Lambda provider that is about queues and streams, which this cloud has none of."""

    def create_event_source_mapping(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """AWS's refusals in AWS's order (recorded), then 501."""
        source = params.get("EventSourceArn")
        if not source and not params.get("SelfManagedEventSource"):
            raise invalid("Unrecognized event source.")
        name, _ = self._registry.parse(params["FunctionName"])
        if self._registry.store.get(name) is None:
            raise invalid("Function does not exist")
        if source and source.split(":")[2] in _STREAMS and not params.get("StartingPosition"):
            raise invalid(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
                "Member must not be null."
            )
        raise not_built("CreateEventSourceMapping (queues and streams)")

    def get_event_source_mapping(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        raise not_found("The resource you requested does not exist.")

    update_event_source_mapping = get_event_source_mapping
    delete_event_source_mapping = get_event_source_mapping

    def list_event_source_mappings(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"EventSourceMappings": []}
