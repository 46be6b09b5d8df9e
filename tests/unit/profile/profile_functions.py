"""Small functions in directories of their own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import preheat
from preheat.execution.variables import ON_DEMAND, runtime_variables
from preheat.kernel.function import FunctionVersion
from preheat.profile.launch import Program

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"

FILES = {
    "lambda_function.py": '''
"""A function that uses one package and not another."""

from __future__ import annotations

import heavy
import needed.tool
try:
    import nowhere_to_be_found
except ImportError:
    pass

model = needed.tool.load()
memory = bytearray(24 << 20)


def lambda_handler(event, context):
    if event.get("fail"):
        raise ValueError(event["fail"])
    return {"statusCode": event.get("status", 200), "body": needed.tool.work(event)}
''',
    "heavy/__init__.py": "import time\nimport heavy.inner\nimport shared\ntime.sleep(0.03)\n",
    "heavy/inner.py": "import time\ntime.sleep(0.02)\n\ndef unused(): ...\n",
    "needed/__init__.py": "",
    "needed/tool.py": """
import shared
import time

import waste


def load():
    with open(__file__) as file:
        return file.read()


def work(event):
    return sorted(event)
""",
    "shared.py": "import time\ntime.sleep(0.01)\n",
    "waste.py": "import time\ntime.sleep(0.015)\n",
    "waste-1.0.dist-info/RECORD": "waste.py,,\nwaste-1.0.dist-info/RECORD,,\n",
}


def program_of(directory: Path, files: Mapping[str, str], runtime_dir: Path) -> Program:
    """Write a function's files and give the program that runs them."""
    code = directory / "code"
    for name, text in files.items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(text)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:small"
    version = FunctionVersion("small", "$LATEST", arn, "1", RUNTIME, "lambda_function.lambda_handler", str(code))
    return Program(
        interpreter=Path(sys.executable),
        guest_dir=Path(preheat.__file__).parent / "guest",
        runtime_dir=runtime_dir,
        code_dir=code,
        handler=version.handler,
        variables=runtime_variables(version, "stream", "http://127.0.0.1:4566", ON_DEMAND),
        arn=arn,
    )
