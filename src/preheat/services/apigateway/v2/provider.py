"""The control plane of HTTP APIs: botocore's `apigatewayv2`, protocol type HTTP."""

from __future__ import annotations

from preheat.services.apigateway.v2.imports import ImportOperations


class HttpApiProvider(ImportOperations):
    """One method per operation that is built, by families, each on the same `HttpApiStore`."""
