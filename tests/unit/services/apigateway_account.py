"""A client of an API Gateway in this process, and an API, for the tables of what real AWS answered.

The tables' source: the `.snapshot.json` files of localstack's tests/aws/services/apigateway, recorded against AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apigateway_support import ACCOUNT, FakeLambda, FakeLogs
from boto_in_process import cloud
from botocore.exceptions import ClientError

from preheat.services.apigateway.gateway import Gateway
from preheat.services.apigateway.provider import ApiGatewayProvider
from preheat.services.apigateway.store import Store

VOLATILE = ("ResponseMetadata", "id", "createdDate", "lastUpdatedDate", "rootResourceId", "cacheNamespace")
BAD, MISSING, INVALID = "BadRequestException", "NotFoundException", "ValidationException"
GET = {"restApiId": "<api>", "resourceId": "<root>", "httpMethod": "GET"}
Row = tuple[str, tuple[str, dict[str, Any]], Any]
"""What is looked at; the operation and its parameters; the answer, or (code, message). `<names>` as in `Account`."""


class Account:
    """A client, and the ids of an API with a MOCK method GET on its root, deployed to the stage `s`."""

    def __init__(self, client: Any) -> None:
        self.client = client
        made = client.create_rest_api(name="x")
        self.ids = {"api": made["id"], "root": made["rootResourceId"]}
        method = {"restApiId": made["id"], "resourceId": made["rootResourceId"], "httpMethod": "GET"}
        client.put_method(**method, authorizationType="NONE")
        client.put_method_response(**method, statusCode="200")
        client.put_integration(**method, type="MOCK")
        self.ids["one"] = client.create_deployment(restApiId=made["id"])["id"]
        self.ids["two"] = client.create_deployment(restApiId=made["id"])["id"]
        client.create_stage(restApiId=made["id"], stageName="s", deploymentId=self.ids["one"])
        self.ids["plan"] = client.create_usage_plan(name="p")["id"]
        self.ids["key"] = client.create_api_key(name="k")["id"]

    def filled(self, given: Any) -> Any:
        """`given` with `<api>`, `<root>`, `<one>`, `<two>`, `<plan>` and `<key>` replaced."""
        if isinstance(given, dict):
            return {name: self.filled(value) for name, value in given.items()}
        if isinstance(given, list):
            return [self.filled(value) for value in given]
        for name, value in self.ids.items():
            given = given.replace(f"<{name}>", value) if isinstance(given, str) else given
        return given

    def call(self, operation: str, params: dict[str, Any]) -> Any:
        """The answer without what differs each time, or (code, message)."""
        try:
            answer = getattr(self.client, operation)(**self.filled(params))
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Error"]["Message"]
        return {name: value for name, value in answer.items() if name not in VOLATILE}

    def meets(self, row: Row) -> None:
        _, (operation, params), expected = row
        wanted = tuple(self.filled(list(expected))) if isinstance(expected, tuple) else self.filled(expected)
        assert self.call(operation, params) == wanted


@contextmanager
def local_client(directory: Path) -> Iterator[Any]:
    """A botocore client whose API Gateway keeps its state in `directory`."""

    async def provider() -> ApiGatewayProvider:
        functions, store = FakeLambda(), Store(directory / "apigateway.db")
        return ApiGatewayProvider(store, Gateway(store, functions, functions, FakeLogs(), ACCOUNT))

    with cloud() as local:
        local.serve({"apigateway": local.run(provider)})
        yield local.client("apigateway")


def patch(op: str, path: str, value: str | None = None, **more: str) -> dict[str, Any]:
    given = {"op": op, "path": path, "value": value, **more}
    return {name: one for name, one in given.items() if one is not None}


def update(kind: str, *patches: dict[str, Any], **names: str) -> tuple[str, dict[str, Any]]:
    return f"update_{kind}", {**names, "patchOperations": list(patches)}
