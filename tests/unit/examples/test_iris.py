"""examples/iris as its users run it, with the dependencies its requirements.txt asks for."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preheat.deploy.packages import install

REPOSITORY = Path(__file__).parents[3]
IRIS = REPOSITORY / "examples" / "iris"

DRIVER = """
import json, sys
import lambda_function
for line in sys.stdin:
    print(json.dumps(lambda_function.lambda_handler(json.loads(line), None)))
"""


@pytest.fixture(scope="module")
def packages() -> Path:
    runtime = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    cache = REPOSITORY / ".preheat" / "build"
    return install(IRIS / "requirements.txt", runtime, for_aws=False, cache_dir=cache, say=print)


def python(packages: Path, code: str, stdin: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=IRIS, env=environment, input=stdin, capture_output=True, text=True, check=True
    ).stdout


ROWS = [[5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 4.2, 1.5], [6.7, 3.0, 5.2, 2.3]]
GOOD = json.dumps({"values": ROWS})
EVENTS: list[tuple[Any, int, str]] = [
    ({"values": ROWS}, 200, ""),
    ({"body": GOOD, "isBase64Encoded": False}, 200, ""),
    ({"body": base64.b64encode(GOOD.encode()).decode(), "isBase64Encoded": True}, 200, ""),
    ({"body": "{"}, 400, "not JSON"),
    ({"body": "\u00ff"}, 400, "not JSON"),
    ({"body": "@@", "isBase64Encoded": True}, 400, "not JSON"),
    ({"body": base64.b64encode(b"\xff").decode(), "isBase64Encoded": True}, 400, "not JSON"),
    ({"body": ""}, 400, "no body"),
    ({"body": None}, 400, "no body"),
    ({"body": {"values": ROWS}}, 400, "no body"),
    ({"body": "[]"}, 400, '"values"'),
    ({"body": "{}"}, 400, '"values"'),
    ({}, 400, '"values"'),
    (None, 400, '"values"'),
    ([1], 400, '"values"'),
    ({"values": 1}, 400, "at least one row"),
    ({"values": []}, 400, "at least one row"),
    ({"values": [ROWS[0], [1, 2, 3]]}, 400, "row 1"),
    ({"values": [1, 2, 3, 4]}, 400, "row 0"),
    ({"values": [[1, 2, 3, "4"]]}, 400, "row 0"),
    ({"values": [[1, 2, 3, True]]}, 400, "row 0"),
    ({"body": '{"values": [[1, 2, 3, NaN]]}'}, 400, "row 0"),
    ({"body": '{"values": [[1, 2, 3, 1e999]]}'}, 400, "row 0"),
]


def test_the_handler_answers_predictions_or_says_what_is_wrong(packages: Path) -> None:
    lines = python(packages, DRIVER, "".join(json.dumps(event) + "\n" for event, _, _ in EVENTS)).splitlines()
    for (event, status, words), line in zip(EVENTS, lines, strict=True):
        answer = json.loads(line)
        assert answer["statusCode"] == status, event
        assert answer["headers"] == {"Content-Type": "application/json"}
        body = json.loads(answer["body"])
        if status == 200:
            assert body == {"predictions": [0, 1, 2], "species": ["setosa", "versicolor", "virginica"]}
        else:
            assert words in body["error"]
            assert "\n" not in body["error"]


def test_the_committed_model_is_what_train_makes(packages: Path) -> None:
    code = """
import train, lambda_function
from sklearn.datasets import load_iris
model, accuracy = train.train()
values = load_iris().data
assert accuracy > 0.95, accuracy
assert lambda_function.predict(values) == model.predict(values).tolist()
print("same")
"""
    assert python(packages, code) == "same\n"
    assert (IRIS / "model.joblib").stat().st_size < 10_000


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers like the function behind RIE (`/2015-…`) or behind API Gateway (anything else)."""

    predictions: tuple[int, ...] = (0, 1, 2)
    paths: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        document: dict[str, Any] = {"predictions": self.predictions}
        if self.path.startswith("/2015-03-31/"):
            document = {"statusCode": 200, "body": json.dumps(document)}
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def stub() -> Iterator[tuple[str, type[Stub]]]:
    handler = type("Handler", (Stub,), {"paths": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/2015-03-31/functions/function/invocations", "/default/iris"])
@pytest.mark.parametrize(("predictions", "status"), [((0, 1, 2), 0), ((0, 1, 1), 1)])
def test_test_py_tells_right_from_wrong(
    stub: tuple[str, type[Stub]], path: str, predictions: tuple[int, ...], status: int
) -> None:
    url, handler = stub
    handler.predictions = predictions
    ran = subprocess.run([sys.executable, "test.py", url + path], cwd=IRIS, capture_output=True, text=True, check=False)
    assert ran.returncode == status
    assert ("wrong" in ran.stderr) == bool(status)
    assert "predictions" in ran.stdout


def test_test_py_says_when_nothing_answers() -> None:
    command = [sys.executable, "test.py", "http://127.0.0.1:1/"]
    ran = subprocess.run(command, cwd=IRIS, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("no answer from http://127.0.0.1:1/")


def test_the_locustfile_is_plain_locust_and_logs_every_request(stub: tuple[str, type[Stub]], tmp_path: Path) -> None:
    url, handler = stub
    log = tmp_path / "logs.txt"
    command = [sys.executable, "-m", "locust", "-f", str(IRIS / "locustfile.py"), "--host", url, "--headless"]
    options = ["--users", "2", "--spawn-rate", "2", "--run-time", "2s", "--logfile", str(log)]
    environment = {**os.environ, "FUNCTION_NAME": "flowers", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*command, *options], env=environment, capture_output=True, check=True, timeout=60)
    assert handler.paths == ["/default/flowers"] * 2
    text = log.read_text("utf-8")
    assert len(re.findall(r"Response time: \d+\.\d\d ms$", text, re.MULTILINE)) == 2
    assert len(re.findall(r"Response status code: 200$", text, re.MULTILINE)) == 2
    assert len(re.findall(r'Response text: \{"predictions": \[0, 1, 2\]\}$', text, re.MULTILINE)) == 2
