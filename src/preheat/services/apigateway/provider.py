"""The control plane as the wire sees it: one method per operation that is built."""

from __future__ import annotations

from preheat.services.apigateway.authorizers import AuthorizerOperations
from preheat.services.apigateway.customs import CustomResponseOperations
from preheat.services.apigateway.deployments import DeploymentOperations
from preheat.services.apigateway.keys import KeyOperations
from preheat.services.apigateway.schemas import SchemaOperations
from preheat.services.apigateway.updates import UpdateOperations


class ApiGatewayProvider(
    DeploymentOperations,
    UpdateOperations,
    SchemaOperations,
    AuthorizerOperations,
    CustomResponseOperations,
    KeyOperations,
):
    """REST APIs v1, by families of operations, each on the same `Store` that the data plane reads from.

    Every operation has written through when it returns.
    """
