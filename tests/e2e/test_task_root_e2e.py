"""A function from a zip finds itself where AWS puts it: /var/task, a layer at /opt, the runtime at /var/runtime."""

from __future__ import annotations

import io
import json
import marshal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from e2e_cloud import ROLE, Cloud, remains

FILES = {
    "lambda_function.py": """
import os
import boto3, inner.part, shared
model = open("/var/task/data.txt").read()
def lambda_handler(event, context):
    if event == "raise":
        inner.part.fail()
    return [model, __file__, inner.part.__file__, shared.__file__, boto3.__file__, os.environ["PATH"]]
""",
    "inner/part.py": "import shared\ndef fail():\n    shared.fail()\n",
    "data.txt": "iris",
}
LAYER = {"python/shared.py": "def fail():\n    raise ValueError('boom')\n"}
PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
TRACE = [
    '  File "/var/task/lambda_function.py", line 7, in lambda_handler\n    inner.part.fail()\n',
    '  File "/var/task/inner/part.py", line 3, in fail\n    shared.fail()\n',
    "  File \"/opt/python/shared.py\", line 2, in fail\n    raise ValueError('boom')\n",
]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data").start()
    yield made
    assert made.end() == 0
    assert remains(made.data_dir) == []


def zip_of(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def invoke(client: Any, qualifier: str, event: Any) -> Any:
    answer = client.invoke(FunctionName="rooted", Qualifier=qualifier, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def named(root: Path) -> set[str]:
    """The file names in all byte code below a directory, of functions inside it, too."""
    found, codes = set(), [marshal.loads(path.read_bytes()[16:]) for path in root.rglob("*.pyc")]
    while codes:
        code = codes.pop()
        found.add(code.co_filename)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return found


def test_code_layers_and_runtime_are_where_aws_has_them(cloud: Cloud) -> None:
    there = Path("/var/task").exists()
    client = cloud.client("lambda")
    layer = client.publish_layer_version(LayerName="shared", Content={"ZipFile": zip_of(LAYER)})
    client.create_function(
        FunctionName="rooted",
        Runtime="python3.11",
        Role=ROLE,
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": zip_of(FILES)},
        Layers=[layer["LayerVersionArn"]],
        SnapStart={"ApplyOn": "PublishedVersions"},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="rooted")
    version = client.publish_version(FunctionName="rooted")["Version"]
    client.get_waiter("function_active_v2").wait(FunctionName="rooted", Qualifier=version)
    task = ["/var/task/lambda_function.py", "/var/task/inner/part.py"]
    for qualifier in ("$LATEST", version):
        places = ["iris", *task, "/opt/python/shared.py", "/var/runtime/boto3/__init__.py", PATH]
        assert invoke(client, qualifier, None) == places
        assert invoke(client, qualifier, "raise")["stackTrace"] == TRACE
    assert named(cloud.data_dir / "code") == {*task, "/opt/python/shared.py"}  # nothing is renamed at a cold start
    assert Path("/var/task").exists() == there
