"""Ten routes and ten thousand: what finding the route costs a request."""

from __future__ import annotations

import json
from typing import Any

from bench.client import Connection, http_request, keep_alive_ms
from bench.cloud import Cloud, Deployed
from bench.peers import Workload
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import ratio
from bench.warm import in_rounds

FEW, MANY = 10, 10_000


def document(count: int, function_arn: str, region: str = "us-east-1") -> bytes:
    """OpenAPI with `count` paths, each with a parameter, all in front of one function."""
    uri = f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{function_arn}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri}
    paths: dict[str, Any] = {
        f"/models{number}/{{id}}/predict": {"post": {"x-amazon-apigateway-integration": integration}}
        for number in range(count)
    }
    return json.dumps(
        {"openapi": "3.0.1", "info": {"title": f"{count} routes", "version": "1"}, "paths": paths}
    ).encode()


def import_api(cloud: Cloud, count: int, function_arn: str) -> str:
    """The path of its last route."""
    client = cloud.client("apigateway")
    api = client.import_rest_api(body=document(count, function_arn))["id"]
    client.create_deployment(restApiId=api, stageName="s")
    return f"/_aws/execute-api/{api}/s/models{count - 1}/7/predict"


def many_over_few(cloud: Cloud, deployed: Deployed, workload: Workload, size: Size) -> Result:
    arn = cloud.client("lambda").get_function(FunctionName=deployed.name)["Configuration"]["FunctionArn"]
    requests = [http_request("POST", import_api(cloud, count, arn), workload.body) for count in (MANY, FEW)]
    with Connection(cloud.port) as connection:
        for request in requests:
            connection.send(request)  # the first one compiles the stage's routes
        many, few = in_rounds(
            lambda count: keep_alive_ms(connection, requests[0], count),
            lambda count: keep_alive_ms(connection, requests[1], count),
            size.warm_rounds,
            size.warm_each,
        )
    return comparison("routes_10k_over_10", ratio, (f"{MANY:,} routes", many), (f"{FEW} routes", few), "ms")
