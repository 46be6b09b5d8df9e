"""The control plane as the wire sees it: one method per operation that is built."""

from __future__ import annotations

from preheat.services.apigateway.deployments import DeploymentOperations


class ApiGatewayProvider(DeploymentOperations):
    """REST APIs v1. Built in layers, each on the one below: APIs, resources, methods, deployments.

    Takes the `Store` that the data plane reads from; every operation has written through when it returns.
    """
