"""A custom runtime for tests: a `bootstrap` of Python's standard library alone, speaking the Runtime API itself.

What it does is in the event: {"chunks": [...], "type", "size", "error", "exit", "break", "whole", "sleep"}.
"""

from __future__ import annotations

import sys
from pathlib import Path

BOOTSTRAP = r"""#!%(python)s
import base64, http.client, json, os, sys, time

HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
BASE = "/2018-06-01/runtime"
MODE = "Lambda-Runtime-Function-Response-Mode"

def ask(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(HOST)
    connection.request(method, BASE + path, body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()

def pieces(event):
    if event.get("prelude"):
        yield json.dumps(event["prelude"]).encode() + bytes(8)
    for chunk in event.get("chunks", []):
        yield chunk.encode()
        time.sleep(event.get("sleep", 0))
    block, left = b"x" * 65536, event.get("size", 0)
    while left > 0:
        yield block[:left]
        left -= len(block)

def stream(request_id, event):
    connection = http.client.HTTPConnection(HOST)
    connection.putrequest("POST", BASE + "/invocation/%%s/response" %% request_id)
    connection.putheader(MODE, event.get("mode", "streaming"))
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Content-Type", event.get("type", "text/plain"))
    connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    connection.endheaders()
    try:
        for piece in pieces(event):
            connection.send(b"%%x\r\n%%b\r\n" %% (len(piece), piece))
    except OSError:
        print("the server does not listen")
    if event.get("exit") is not None:
        os._exit(event["exit"])
    if event.get("break"):
        connection.sock.close()
        return
    connection.send(b"0\r\n")
    if event.get("error"):
        error = {"errorType": event["error"], "errorMessage": "in the middle"}
        connection.send(b"Lambda-Runtime-Function-Error-Type: %%s\r\n" %% event["error"].encode())
        connection.send(b"Lambda-Runtime-Function-Error-Body: %%s\r\n" %% base64.b64encode(json.dumps(error).encode()))
    connection.send(b"\r\n")
    print("status", connection.getresponse().status)

sys.stdout.reconfigure(line_buffering=True)
count = 0
while True:
    _, headers, body = ask("GET", "/invocation/next")
    headers = {name.lower(): value for name, value in headers.items()}
    request_id, event, count = headers["lambda-runtime-aws-request-id"], json.loads(body), count + 1
    if isinstance(event, dict) and "requestContext" in event:  # of a function URL
        event = json.loads(event["body"])
    if isinstance(event, dict) and "whole" not in event:
        stream(request_id, event)
        continue
    facts = {"count": count, "environ": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv}
    ask("POST", "/invocation/%%s/response" %% request_id, json.dumps(facts).encode())
"""


def write_bootstrap(directory: str, text: str = "", mode: int = 0o755) -> None:
    """Put a bootstrap there; ours where no text is given."""
    path = Path(directory) / "bootstrap"
    path.write_text(text or BOOTSTRAP % {"python": sys.executable})
    path.chmod(mode)
