"""The control plane as the wire sees it: one method per operation that is built."""

from __future__ import annotations

from preheat.services.apigateway.account import AccountOperations
from preheat.services.apigateway.exports import ExportOperations
from preheat.services.apigateway.imports import ImportOperations
from preheat.services.apigateway.keys import KeyOperations
from preheat.services.apigateway.testing import TestOperations
from preheat.services.apigateway.updates import UpdateOperations


class ApiGatewayProvider(
    TestOperations,
    ImportOperations,
    ExportOperations,
    UpdateOperations,
    KeyOperations,
    AccountOperations,
):
    """REST APIs v1, by families of operations, each on the same `Store` that the data plane reads from.

    Takes the store and, for TestInvokeMethod, the data plane. Every operation has written through when it returns.
    """
