"""The control plane by boto3: list and get of one small function, against moto_server."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from bench import peers
from bench.client import HOST, timed_ms
from bench.cloud import RUNTIME, aws_client, up
from bench.result import Result, comparison
from bench.size import Size
from bench.stats import ratio
from bench.warm import in_rounds

NAME = "small"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def small_function() -> bytes:
    """A zip with a handler of one line."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context):\n    return event\n")
    return buffer.getvalue()


def create(client: Any, role: str) -> None:
    code = {"ZipFile": small_function()}
    client.create_function(FunctionName=NAME, Runtime=RUNTIME, Role=role, Handler="handler.handle", Code=code)
    client.get_waiter("function_active_v2").wait(FunctionName=NAME)


def list_and_get_ms(client: Any, count: int) -> list[float]:
    """Half the time of one ListFunctions and one GetFunction: a call's mean over the two, `count` times."""

    def both() -> None:
        listed = client.list_functions()["Functions"]
        assert [function["FunctionName"] for function in listed] == [NAME]
        assert client.get_function(FunctionName=NAME)["Configuration"]["FunctionName"] == NAME

    return [timed_ms(both) / 2 for _ in range(count)]


def over_moto(folder: Path, size: Size) -> Result:
    """Both servers hold the one function and nothing else."""
    with up(folder / "control", folder / "control.log") as cloud, peers.moto(folder) as port:
        ours = cloud.client("lambda")
        create(ours, cloud.client("iam").get_role(RoleName="LabRole")["Role"]["Arn"])
        endpoint_url = f"http://{HOST}:{port}"
        role = aws_client("iam", endpoint_url).create_role(RoleName="LabRole", AssumeRolePolicyDocument=TRUST)["Role"]
        theirs = aws_client("lambda", endpoint_url)
        create(theirs, role["Arn"])
        left, right = in_rounds(
            lambda count: list_and_get_ms(ours, count),
            lambda count: list_and_get_ms(theirs, count),
            size.control_rounds,
            size.control_each,
        )
    return comparison("control_plane_p50_over_moto", ratio, ("Preheat", left), ("moto", right), "ms")
